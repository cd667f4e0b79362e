import t from 'tap'
import {
  cursorsOf,
  ensureUsers,
  findUsers,
  fixPartitions,
  insertUser,
  readPositions,
  saveCursors,
  saveReads,
} from '../src/index.js'
import { freshDatabase } from './world.js'

const { store } = await freshDatabase(t)

t.test('cursors move forward only and a device keeps when it was first seen', async (t) => {
  const at = (conversation: string, seq: number) => ({ user: 'alice', device: 'phone', conversation, seq })
  await saveCursors(store, [at('dm:a:b', 5), at('dm:a:a', 2)], [{ user: 'alice', device: 'phone', firstSeen: 1_000 }])
  await saveCursors(store, [at('dm:a:b', 3), at('dm:a:a', 9)], [{ user: 'alice', device: 'phone', firstSeen: 2_000 }])
  t.same(await cursorsOf(store, ['alice']), {
    devices: [{ user: 'alice', device: 'phone', firstSeen: 1_000 }],
    cursors: [at('dm:a:a', 9), at('dm:a:b', 5)],
  })
  t.same(await cursorsOf(store, ['Alice']), { devices: [], cursors: [] }, 'byte for byte')
})

t.test('many cursors are stored in chunks', async (t) => {
  const many = Array.from({ length: 1_700 }, (_, i) => ({
    user: 'many',
    device: 'd',
    conversation: `dm:many:u${i}`,
    seq: i + 1,
  }))
  await saveCursors(store, many, [])
  t.equal((await cursorsOf(store, ['many'])).cursors.length, 1_700)
})

t.test('names that differ in case only are different users, and a taken name is refused', async (t) => {
  const user = (id: string) => ({
    id,
    displayName: `${id} 🙂`,
    passwordHash: null,
    createdAt: new Date(1_763_700_000_123),
  })
  t.equal(await insertUser(store, user('Bob')), true)
  t.equal(await insertUser(store, user('bob')), true)
  t.equal(await insertUser(store, user('bob')), false)
  t.match(await ensureUsers(store, [user('Bob')]), [user('Bob')], 'times are kept to the millisecond, in UTC')
  const seen = await Promise.all([
    ensureUsers(store, ['Bob', 'new', 'next'].map(user)),
    ensureUsers(store, ['next', 'new'].map(user)),
  ])
  t.same(
    seen.map((rows) => rows.map(({ id }) => id).sort()),
    [
      ['Bob', 'new', 'next'],
      ['new', 'next'],
    ],
  )
  t.equal((await findUsers(store, ['Bob', 'bob', 'BOB'])).length, 2)
})

t.test('the number of partitions is fixed by the first who writes it', async (t) => {
  t.same(await Promise.all([fixPartitions(store, 16), fixPartitions(store, 16)]), [16, 16])
  t.equal(await fixPartitions(store, 8), 16)
})

t.test('read positions move forward only, n with seq, and one that is not known is left out', async (t) => {
  t.same(await readPositions(store, 'alice', ['dm:a:b']), new Map())
  const at = (seq: number, n: number, conversation = 'dm:a:b') => ({ user: 'alice', conversation, seq, n })
  await saveReads(store, [at(5, 4), at(2, 2, 'dm:a:a')])
  await saveReads(store, [at(3, 3), at(9, 7, 'dm:a:a')])
  t.same(
    await readPositions(store, 'alice', ['dm:a:b', 'dm:a:a', 'dm:a:c']),
    new Map([
      ['dm:a:b', { seq: 5, n: 4 }],
      ['dm:a:a', { seq: 9, n: 7 }],
    ]),
  )
  t.same(await readPositions(store, 'Alice', ['dm:a:b']), new Map(), 'byte for byte')
})

t.end()
