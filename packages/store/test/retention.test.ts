import t from 'tap'
import {
  claimJob,
  conversationsBefore,
  expire,
  findExpiring,
  floorsOf,
  giveUpJob,
  holdJob,
  insertEntries,
  insertTombstone,
  maxSeq,
  readEntries,
} from '../src/index.js'
import { retentionSql } from '../src/retention.js'
import { entryOf, freshDatabase } from './world.js'

const { store } = await freshDatabase(t)
const insert = (...list: ReturnType<typeof entryOf>[]) =>
  insertEntries(
    store,
    list.map((entry) => ({ partition: 1, fence: 1, entry })),
    'persist',
  )
const rows = async (conversation: string) =>
  (await readEntries(store, conversation, { after: 0, limit: 100 })).map(({ entry, void: range }) =>
    range ? `${range.from}-${range.to}${range.expired ? ' expired' : ''}` : entry.seq,
  )
/** Entries with these times, from seq 1 on. */
const at = (conversation: string, ...times: number[]) =>
  times.map((sentAt, i) => entryOf(conversation, i + 1, { sentAt }))

t.test('the oldest go, up to the first that is young enough, a bounded number at a time', async (t) => {
  const c = 'dm:a:old'
  await insert(...at(c, 1, 2, 3, 9, 4, 9))
  const job = (await claimJob(store, 'test', 'me'))!
  const first = (await findExpiring(store, c, 5, 2))!
  t.match(first, { floor: { seq: 2, n: 2 }, more: true })
  t.equal(await expire(store, job, c, first, 5), 2)
  t.same(await rows(c), ['1-2 expired', 3, 4, 5, 6])
  const second = (await findExpiring(store, c, 5, 100))!
  t.match(second, { floor: { seq: 3, n: 3 }, more: false })
  await expire(store, job, c, second, 5)
  t.same(await rows(c), ['1-3 expired', 4, 5, 6], 'one that is old behind a young one waits for it')
  t.equal(await findExpiring(store, c, 5, 100), undefined)
  t.same(await floorsOf(store, [c, 'dm:a:none']), new Map([[c, { seq: 3, n: 3 }]]))
  t.equal(await maxSeq(store, c), 6)
  await giveUpJob(store, job)
})

t.test(
  'voids go with what is above them, and what was put back below the floor is void or gone, never a second void',
  async (t) => {
    const c = 'dm:a:voids'
    await insert(entryOf(c, 1, { sentAt: 1 }), entryOf(c, 4, { sentAt: 1 }), entryOf(c, 5, { sentAt: 9 }))
    await insertTombstone(store, { conversation: c, seq: 2, reason: 'rejected' })
    await insertTombstone(store, { conversation: c, seq: 3, reason: 'rejected' })
    const job = (await claimJob(store, 'voids', 'me'))!
    await expire(store, job, c, (await findExpiring(store, c, 5, 100))!, 5)
    t.same(await rows(c), ['1-4 expired', 5])
    await insert(entryOf(c, 2, { sentAt: 1 }))
    t.same(await rows(c), [2, '1-4 expired', 5])
    await expire(store, job, c, (await findExpiring(store, c, 5, 100))!, 5)
    t.same(await rows(c), ['1-4 expired', 5])
    t.equal(await maxSeq(store, c), 5)
  },
)

t.test('an owner that slept while another one took over removes nothing any more', async (t) => {
  const c = 'dm:a:fenced'
  await insert(...at(c, 1, 9))
  const sleeper = (await claimJob(store, 'fenced', 'sleeper'))!
  t.equal(await claimJob(store, 'fenced', 'other'), undefined, 'one at a time')
  const found = (await findExpiring(store, c, 5, 100))!
  await store.use((db) => db.run("UPDATE jobs SET `until` = NOW(3) - INTERVAL 1 SECOND WHERE name = 'fenced'"))
  t.ok(await store.use((db) => holdJob(db, sleeper)), 'late, but nobody else was there')
  await store.use((db) => db.run("UPDATE jobs SET `until` = NOW(3) - INTERVAL 1 SECOND WHERE name = 'fenced'"))
  const other = (await claimJob(store, 'fenced', 'other'))!
  t.ok(other.fence > sleeper.fence)
  t.equal(await expire(store, sleeper, c, found, 5), undefined)
  t.same(await rows(c), [1, 2], 'nothing was removed')
  await giveUpJob(store, sleeper)
  t.equal(await claimJob(store, 'fenced', 'third'), undefined, 'nor can it give away what is not its own')
  t.equal(await expire(store, other, c, found, 5), 1)
})

t.test('old ones are found by their ids, which begin with the time', async (t) => {
  const now = Date.now()
  const idOf = (ms: number) => String(BigInt(ms - 1_767_225_600_000) << 22n)
  await insert(entryOf('dm:a:ids1', 1, { id: idOf(now - 5_000) }), entryOf('dm:a:ids2', 1, { id: idOf(now) }))
  const page = await conversationsBefore(store, now - 1_000, idOf(now - 6_000), 10)
  t.same(page, { conversations: ['dm:a:ids1'], last: idOf(now - 5_000) })
  t.equal(await conversationsBefore(store, now - 1_000, page!.last, 10), undefined)
})

t.test('the statements that matter use the index their comment names', async (t) => {
  const many = Array.from({ length: 2_000 }, (_, i) => entryOf(`dm:bulk:u${i % 40}`, Math.floor(i / 40) + 1))
  await insert(...many)
  await store.use((db) => db.select('ANALYZE TABLE entries'))
  const explain = (sql: string, values: (string | number | string[])[]) =>
    store.use((db) => db.select<{ table: string; key: string; type: string; Extra: string }>(`EXPLAIN ${sql}`, values))
  const [old] = await explain(retentionSql.old, ['0', '9000000000000000000', 100])
  t.match(old, { key: 'entries_id', type: 'range', Extra: /Using index/ })
  t.notMatch(old!.Extra, /filesort|temporary/)
  const [oldest] = await explain(retentionSql.oldest, ['dm:bulk:u1', 100])
  t.match(oldest, { key: 'PRIMARY' })
  t.notMatch(oldest!.Extra, /filesort|temporary/)
  const [retained] = await explain(retentionSql.retained, [1, 1, 'x', 10])
  t.match(retained, { key: 'rooms_retention' })
  t.notMatch(retained!.Extra, /filesort|temporary/)
  const floors = await explain(retentionSql.floors, [['dm:bulk:u1', 'dm:bulk:u2', 'dm:bulk:u3']])
  t.match(
    floors.find((row) => row.table === 'e'),
    { key: 'PRIMARY', type: 'eq_ref' },
  )
})

t.end()
