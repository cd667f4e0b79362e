import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import {
  deleteUser,
  forgetSessions,
  insertSession,
  insertUser,
  revokedSince,
  revokeSession,
  rotateToken,
  setUserDisabled,
} from '../src/index.js'
import { freshDatabase } from './world.js'

const { store } = await freshDatabase(t)
const newHash = () => createHash('sha256').update(randomBytes(8)).digest('hex')
const later = () => new Date(Date.now() + 60_000)

async function open(id: string) {
  const hash = newHash()
  await insertSession(store, { id, user: 'alice', device: 'phone', hash, now: new Date(), expiresAt: later() })
  return hash
}
const trade = (hash: string, nextHash: string) =>
  rotateToken(store, { hash, nextHash, now: new Date(), expiresAt: later() })

t.test('a token is traded once; showing any older one of the family again revokes the session', async (t) => {
  const [a, b, c] = [await open('s1'), newHash(), newHash()]
  t.match(await trade(a, b), { outcome: 'rotated', session: 's1', user: 'alice', device: 'phone' })
  t.match(await trade(b, c), { outcome: 'rotated' })
  t.match(await trade(a, newHash()), { outcome: 'reused', session: 's1' })
  t.match(await trade(c, newHash()), { outcome: 'refused' }, 'the newest is dead too')
  t.match(await trade(a, newHash()), { outcome: 'refused' }, 'it is revoked once')
})

t.test('of many trades of one token at the same moment exactly one wins, and the family is dead', async (t) => {
  for (let round = 0; round < 10; round++) {
    const hash = await open(`race${round}`)
    const next = newHash()
    const answers = await Promise.all([trade(hash, next), ...Array.from({ length: 4 }, () => trade(hash, newHash()))])
    t.equal(answers.filter(({ outcome }) => outcome === 'rotated').length, 1)
    t.ok(answers.some(({ outcome }) => outcome === 'reused'))
    const rows = await revokedSince(store, new Date(Date.now() - 10_000))
    t.ok(rows.some(({ id }) => id === `race${round}`))
  }
})

t.test('a token that ran out is refused and revokes nothing', async (t) => {
  const hash = newHash()
  const past = new Date(Date.now() - 1_000)
  await insertSession(store, { id: 'old', user: 'alice', device: 'd', hash, now: past, expiresAt: past })
  t.match(await trade(hash, newHash()), { outcome: 'refused' })
  t.match(await trade(newHash(), newHash()), { outcome: 'refused' }, 'as is one that nobody knows')
  t.equal(await forgetSessions(store, new Date(Date.now() - 500)), 1)
  t.equal(await forgetSessions(store, new Date(Date.now() - 500)), 0)
})

t.test('a session is ended by its own user only, once', async (t) => {
  await open('mine')
  t.equal(await revokeSession(store, 'mine', 'mallory', new Date()), undefined)
  const at = new Date()
  t.equal(await revokeSession(store, 'mine', 'alice', at), at.getTime())
  t.equal(await revokeSession(store, 'mine', 'alice', later()), at.getTime(), 'the first time stays')
})

t.test('who ends a user at the moment of a sign-in waits for it, and ends that session too', async (t) => {
  await insertUser(store, { id: 'ending', displayName: 'x', passwordHash: null, createdAt: new Date() })
  const session = (id: string) => {
    return { id, user: 'ending', device: 'd', hash: newHash(), now: new Date(), expiresAt: later() }
  }
  for (let round = 0; round < 20; round++) {
    const [opened, ended] = await Promise.all([
      insertSession(store, session(`e${round}`)),
      setUserDisabled(store, 'ending', true, new Date()),
    ])
    t.equal(opened, ended!.includes(`e${round}`), 'opened and ended, or not opened')
    t.same(await setUserDisabled(store, 'ending', false, new Date()), [])
  }
  await deleteUser(store, 'ending', 'gone', new Date())
  t.equal(await insertSession(store, session('late')), false)
})

t.test('revoked sessions are found by their index', async (t) => {
  const [row] = await store.use((db) =>
    db.select<{ possible_keys: string }>('EXPLAIN SELECT id, revoked_at FROM sessions WHERE revoked_at > ?', [
      new Date(),
    ]),
  )
  t.match(row?.possible_keys, /sessions_revoked_at/)
})

t.end()
