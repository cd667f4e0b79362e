import t from 'tap'
import {
  advancePass,
  claimPass,
  countPasses,
  forgetPasses,
  nextPassDue,
  notePasses,
  peopleSql,
  postponePass,
  transaction,
} from '../src/index.js'
import { freshDatabase } from './world.js'

const { store } = await freshDatabase(t)
const ROOM = 'room:abcdefgh12345678'
const past = new Date(Date.now() - 10_000)
const soon = () => new Date(Date.now() + 60_000)
const note = (seq: number, conversation = ROOM, dueAt = past) =>
  transaction(store, (db) => notePasses(db, [{ conversation, seq, sentAt: seq }], dueAt))
const claim = () => claimPass(store, new Date(), soon())
t.beforeEach(() => store.use((db) => db.run('DELETE FROM push_passes')))

t.test('many entries of a conversation are one pass, and one that comes again begins none', async (t) => {
  await note(5)
  await note(7)
  t.equal(await countPasses(store), 1)
  const pass = await claim()
  t.match(pass, { conversation: ROOM, firstSeq: 5, seq: 7, newestAt: 7, passSeq: 0, afterUser: '' })
  t.equal(await claim(), undefined, 'it is lent')
  const end = { passSeq: 7, afterUser: undefined, nextDueAt: past }
  t.ok(await advancePass(store, pass!, end))
  t.equal(await nextPassDue(store), undefined, 'nothing is due')
  await note(7)
  await note(5)
  t.equal(await claim(), undefined, 'what was told of is not told again')
  await note(8)
  t.match(await claim(), { firstSeq: 8, seq: 8 })

  const many = [6, 4, 5].map((seq) => ({ conversation: 'feed:*', seq, sentAt: seq }))
  await transaction(store, (db) => notePasses(db, many, past))
  t.match(await claim(), { conversation: 'feed:*', firstSeq: 4, seq: 6, newestAt: 6 }, 'those of a batch')
})

t.test('what comes while a pass runs is for the next one', async (t) => {
  await note(5)
  const first = (await claim())!
  t.ok(await advancePass(store, first, { passSeq: 5, afterUser: 'bob', nextDueAt: past }))
  await note(6)
  const second = (await claim())!
  t.match(second, { firstSeq: 5, seq: 6, passSeq: 5, afterUser: 'bob' })
  t.ok(await advancePass(store, second, { passSeq: 5, afterUser: undefined, nextDueAt: past }))
  t.match(await claim(), { firstSeq: 6, seq: 6, passSeq: 0, afterUser: '' })
})

t.test('a page that somebody else does by now writes nothing, not even what is to be tried again', async (t) => {
  await note(5)
  const slow = (await claim())!
  await postponePass(store, slow, past)
  const other = (await claim())!
  const due = {
    ...{ user: 'bob', device: 'phone', conversation: ROOM, seq: 5, id: '5', from: 'alice', preview: '' },
    ...{ expiresAt: null, urgent: false, createdAt: new Date() },
  }
  const page = { passSeq: 5, afterUser: 'zoe', nextDueAt: past, again: [due] }
  t.notOk(await advancePass(store, slow, page))
  const rows = () => store.use((db) => db.select('SELECT user FROM push_due'))
  t.same(await rows(), [])
  await postponePass(store, slow, past)
  t.equal(await claim(), undefined, 'nor does it give back what is another’s')
  t.ok(await advancePass(store, other, page))
  t.same(await rows(), [{ user: 'bob' }])
  t.match(await claim(), { afterUser: 'zoe' })
})

t.test('conversations take turns, and those that are idle are forgotten after a while', async (t) => {
  const other = 'feed:*'
  await note(5)
  await note(5, other, new Date(past.getTime() + 1))
  const first = (await claim())!
  t.equal(first.conversation, ROOM)
  t.ok(await advancePass(store, first, { passSeq: 5, afterUser: 'bob', nextDueAt: new Date() }))
  const second = (await claim())!
  t.equal(second.conversation, other, 'the one that has waited longer')
  t.ok(await advancePass(store, second, { passSeq: 5, afterUser: undefined, nextDueAt: new Date() }))
  await forgetPasses(store, 6)
  const left = await store.use((db) => db.select<{ conversation: string }>('SELECT conversation FROM push_passes'))
  t.same(left, [{ conversation: ROOM }], 'not what is due')
})

t.test('people are found by an index, from name to name, and their devices by their names alone', async (t) => {
  const SUBSCRIBERS = 20_000
  /** Of a room just large enough for a pass: between two members there are many others who have subscriptions. */
  const EVERY = 20
  const now = new Date()
  const names = Array.from({ length: SUBSCRIBERS }, (_, i) => `u${i}`)
  const fill = async (table: string, columns: string, rows: unknown[][]): Promise<void> => {
    for (let at = 0; at < rows.length; at += 5_000)
      await store.use((db) => db.run(`INSERT INTO ${table} (${columns}) VALUES ?`, [rows.slice(at, at + 5_000)]))
  }
  await fill(
    'users',
    'id, display_name, created_at',
    names.map((user) => [user, user, now]),
  )
  await fill(
    'push_subscriptions',
    'user, device, endpoint, endpoint_hash, p256dh, auth, created_at',
    names.map((user, i) => [user, 'phone', `https://e/${i}`, String(i), 'p', 'a', now]),
  )
  const members = names.filter((_, i) => i % EVERY === 0).sort()
  await fill(
    'conversation_members',
    'user, conversation, kind, joined_seq, created_at',
    members.map((user) => [user, ROOM, 'room', 1, now]),
  )
  await store.use((db) => db.run('ANALYZE TABLE users, conversation_members, push_subscriptions'))

  type Plan = { table: string; type: string; key: string; rows: string; Extra: string | null }
  const explain = (sql: string, values: unknown[]) => store.use((db) => db.select<Plan>(`EXPLAIN ${sql}`, values))
  const [subscriber] = await explain(peopleSql.subscribers, ['u1500', 200])
  t.match(subscriber, { key: 'push_subscriptions_device' })
  const [member] = await explain(peopleSql.members, [ROOM, 'u1500', 200])
  t.match(member, { key: /conversation_members/ })
  for (const row of [subscriber!, member!]) t.notMatch(row.Extra ?? '', /filesort|temporary/)

  const page = members.slice(0, 200)
  const of = (conversation: string) => [conversation, conversation, conversation, page, 'alice', now]
  const seqs = [9, 9, Date.now()]
  for (const [what, plan] of Object.entries({
    'a room': await explain(peopleSql.devicesInRoom, [ROOM, 9, ...of(ROOM), ...seqs]),
    everyone: await explain(peopleSql.devices, [...of('feed:*'), 9, ...seqs]),
  })) {
    const [first, ...others] = plan
    t.match(first, { table: 's', type: 'range', key: 'push_subscriptions_device' }, what)
    t.ok(Number(first!.rows) <= 2 * page.length, `${first!.rows} rows for ${page.length} people`)
    t.notMatch(first!.Extra ?? '', /filesort|temporary/)
    for (const row of others) t.match(row, { key: 'PRIMARY', type: 'eq_ref' }, `${row.table} by its whole key`)
  }
})

t.end()
