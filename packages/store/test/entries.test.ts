import { type Entry, MAX_CONTENT_BYTES } from '@tidings/protocol'
import t from 'tap'
import { entrySql } from '../src/entry-rows.js'
import {
  conversationsOf,
  insertEntries,
  insertTombstone,
  maxSeq,
  maxSeqs,
  newestEntries,
  raiseFence,
  readEntries,
  type Store,
} from '../src/index.js'
import { entryOf, freshDatabase } from './world.js'

const { store } = await freshDatabase(t)
const fenced = (...list: ReturnType<typeof entryOf>[]) => list.map((entry) => ({ partition: 1, fence: 1, entry }))
const all = { after: 0, limit: 100 }
const listed = async (user: string) => (await conversationsOf(store, [user])).get(user)

t.test('a batch is stored as it was written: order, 64-bit ids, emoji, every byte of the content', async (t) => {
  const contents = [
    '{"text":"👩‍👩‍👧‍👦 𝒳 汉字"}',
    '{ "b":1,\t"a" : 9007199254740993, "2":1e400, "z":-0 }',
    '{"quote":"\\" \\\\ \' ` ? :x \\u0000 %","nl":"\\n"}',
    '{"sql":"\'); DROP TABLE entries; --"}',
    `{"long":"${'😀'.repeat(4_000)}"}`,
  ]
  t.ok(await raiseFence(store, 'persist', 1, 1).then((newer) => newer === undefined))
  // Few are one statement of their own kind; with members to list they are a transaction.
  for (const [i, members] of [[], ['dm:alice:bytes1']].entries()) {
    const c = `dm:alice:bytes${i}`
    const entries = contents.map((content, j) =>
      entryOf(c, j + 1, { content, id: String(9_223_372_036_854_775_807n - BigInt(10 * i + j)) }),
    )
    t.same(await insertEntries(store, fenced(...entries.toReversed()), 'persist', members), {
      fenced: new Map(),
      conflicts: [],
    })
    const rows = await readEntries(store, c, all)
    t.same(
      rows.map(({ entry }) => entry),
      entries,
    )
  }
  t.ok(Buffer.byteLength(contents[4]!) <= MAX_CONTENT_BYTES)
})

t.test('the same batch again changes nothing, also when it overlaps with new entries', async (t) => {
  const c = 'dm:alice:again'
  const entries = [1, 2, 3, 4].map((seq) => entryOf(c, seq))
  await insertEntries(store, fenced(...entries.slice(0, 3)), 'persist')
  t.same(await insertEntries(store, fenced(...entries.slice(0, 3)), 'persist'), { fenced: new Map(), conflicts: [] })
  t.same(await insertEntries(store, fenced(...entries.slice(1)), 'persist'), { fenced: new Map(), conflicts: [] })
  t.equal(await maxSeq(store, c), 4)
})

t.test('promise 1: a batch that is too long for one statement loses none of its entries', async (t) => {
  const c = 'dm:alice:many'
  const content = `{"long":"${'x'.repeat(14_000)}"}`
  const entries = Array.from({ length: 500 }, (_, i) => entryOf(c, i + 1, { content }))
  t.ok(entries.length * content.length > 3 * 2 * 1024 * 1024, 'several statements')
  await insertEntries(store, fenced(...entries), 'persist')
  const rows = await readEntries(store, c, { after: 0, limit: 1_000 })
  t.same(
    rows.map(({ entry }) => entry.seq),
    entries.map(({ seq }) => seq),
  )
})

t.test('another entry at a seq, and an id used elsewhere, are conflicts; the neighbours are stored', async (t) => {
  const c = 'dm:alice:conflict'
  const first = entryOf(c, 1)
  await insertEntries(store, fenced(first), 'persist')
  const usurper = entryOf(c, 1)
  const twin = entryOf(c, 2, { id: first.id })
  const good = entryOf(c, 3)
  const inBatch = entryOf(c, 3)
  const { conflicts } = await insertEntries(store, fenced(usurper, twin, good, inBatch), 'persist')
  t.same(
    conflicts.map(({ entry, reason }) => [entry.id, reason]),
    [
      [usurper.id, 'seq_conflict'],
      [twin.id, 'id_conflict'],
      [inBatch.id, 'seq_conflict'],
    ],
  )
  const rows = await readEntries(store, c, all)
  t.same(
    rows.map(({ entry }) => entry.id),
    [first.id, good.id],
  )
})

t.test('one row that MySQL can never take is refused with its reason, and only that one', async (t) => {
  const c = 'dm:alice:refused'
  const long = entryOf(c, 2, { type: `x-${'y'.repeat(80)}` })
  const foreign = entryOf(c, 3, { clientId: 'ключ' })
  const { conflicts } = await insertEntries(store, fenced(entryOf(c, 1), long, foreign, entryOf(c, 4)), 'persist')
  t.match(conflicts[0], { entry: { seq: 2 }, reason: /^rejected: ER_DATA_TOO_LONG 1406 in type$/ })
  t.match(conflicts[1], {
    entry: { seq: 3 },
    reason: /^rejected: ER_TRUNCATED_WRONG_VALUE_FOR_FIELD 1366 in client_id$/,
  })
  t.notMatch(conflicts[1]!.reason, /ключ/, 'no value of anybody in the reason')
  t.same(
    (await readEntries(store, c, all)).map(({ entry }) => entry.seq),
    [1, 4],
  )
})

t.test('entries of a partition with a newer owner are left out, those of others are stored', async (t) => {
  t.equal(await raiseFence(store, 'persist', 7, 10), undefined)
  t.equal(await raiseFence(store, 'persist', 7, 10), undefined, 'the same owner again')
  t.equal(await raiseFence(store, 'persist', 7, 12), undefined)
  t.equal(await raiseFence(store, 'persist', 7, 11), 12, 'a newer one exists')
  t.equal(await raiseFence(store, 'push', 7, 11), undefined, 'each group has its own')
  const old = { partition: 7, fence: 11, entry: entryOf('dm:alice:fenced', 1) }
  const other = { partition: 8, fence: 3, entry: entryOf('dm:alice:open', 1) }
  t.same(await insertEntries(store, [old, other], 'persist', ['dm:alice:fenced', 'dm:alice:open']), {
    fenced: new Map([[7, 12]]),
    conflicts: [],
  })
  t.equal(await maxSeq(store, 'dm:alice:fenced'), 0)
  t.equal(await maxSeq(store, 'dm:alice:open'), 1)
  t.same(await listed('fenced'), [])
  t.same(await listed('open'), ['dm:alice:open'])
  t.equal(await raiseFence(store, 'persist', 8, 2), 3, 'storing has raised the fence that nobody had raised')
  const again = [old, { ...other, entry: entryOf('dm:alice:open', 2) }]
  t.same(await insertEntries(store, again, 'persist'), { fenced: new Map([[7, 12]]), conflicts: [] }, 'without members')
  t.equal(await maxSeq(store, 'dm:alice:fenced'), 0)
  t.equal(await maxSeq(store, 'dm:alice:open'), 2)
})

t.test('what comes by ones and twos is one statement, and held to the same fence', async (t) => {
  const statements: string[] = []
  const watched: Store = {
    ...store,
    use: (work) =>
      store.use((db) =>
        work({
          ...db,
          run(sql, values) {
            statements.push(sql)
            return db.run(sql, values)
          },
        }),
      ),
  }
  const alone = (entry: Entry, fence: number) => insertEntries(watched, [{ partition: 5, fence, entry }], 'persist')
  const at = (seq: number, over: Partial<Entry> = {}) => entryOf('dm:alice:alone', seq, over)
  const stored = { fenced: new Map(), conflicts: [] }
  t.same(await alone(at(1), 4), stored)
  t.ok(statements.length > 1, 'a fence that nobody had raised cannot be held')
  statements.length = 0
  const second = at(2, { content: `{"text":"it's \\\\ \u{1f600}"}` })
  t.same(await alone(second, 4), stored)
  t.equal(statements.length, 1, statements.join('; '))
  t.same((await readEntries(store, 'dm:alice:alone', all))[1]!.entry, { ...second, clientId: 'c-2' })
  t.same(await alone(second, 4), stored, 'again')
  statements.length = 0
  const pair = [1, 2].map((seq) => ({ partition: 5, fence: 4, entry: entryOf('dm:alice:pair', seq) }))
  t.same(await insertEntries(watched, pair, 'persist'), stored)
  t.equal(statements.length, 1, statements.join('; '))
  t.equal(await maxSeq(store, 'dm:alice:pair'), 2)
  t.match(await alone(at(2), 4), { conflicts: [{ reason: 'seq_conflict' }] })
  t.match(await alone(at(3, { from: 'x'.repeat(1_000) }), 4), { conflicts: [{ reason: /^rejected/ }] })
  await raiseFence(store, 'persist', 5, 6)
  t.same(await alone(at(3), 5), { fenced: new Map([[5, 6]]), conflicts: [] })
  t.equal(await maxSeq(store, 'dm:alice:alone'), 2)
  for (let fence = 7, seq = 3; fence < 47; fence++) {
    const insert = alone(at(seq), fence - 1)
    await raiseFence(store, 'persist', 5, fence)
    const then = await maxSeq(store, 'dm:alice:alone')
    const { fenced } = await insert
    t.equal(await maxSeq(store, 'dm:alice:alone'), then, 'nothing comes behind a raise')
    t.equal(fenced.size, then === seq ? 0 : 1)
    if (then === seq) seq++
  }
})

t.test('a raise waits for the running transaction of the older owner', async (t) => {
  const order: string[] = []
  await raiseFence(store, 'persist', 9, 1)
  const batch = Array.from({ length: 500 }, (_, i) => ({
    partition: 9,
    fence: 1,
    entry: entryOf('dm:alice:race', i + 1),
  }))
  const insert = insertEntries(store, batch, 'persist').then(({ fenced }) => {
    order.push(fenced.size > 0 ? 'fenced' : 'stored')
  })
  const raise = raiseFence(store, 'persist', 9, 2)
  await Promise.all([insert, raise])
  const rows = await maxSeq(store, 'dm:alice:race')
  t.equal(rows, order[0] === 'stored' ? 500 : 0, 'all or nothing')
  t.same((await insertEntries(store, batch.slice(0, 1), 'persist')).fenced, new Map([[9, 2]]))
})

t.test('the parties of a direct conversation become its members with its first entry', async (t) => {
  await insertEntries(store, fenced(entryOf('dm:ann:ben', 1)), 'persist', ['dm:ann:ben'])
  await insertEntries(store, fenced(entryOf('dm:ann:ben', 2)), 'persist', ['dm:ann:ben'])
  await insertEntries(store, fenced(entryOf('dm:ann:ann', 1)), 'persist', ['dm:ann:ann'])
  t.same(await listed('ann'), ['dm:ann:ann', 'dm:ann:ben'])
  t.same(await listed('ben'), ['dm:ann:ben'])
  t.same(await listed('Ben'), [], 'byte for byte')
  const poison = entryOf('dm:ann:cat', 1, { clientId: 'ключ' })
  t.equal((await insertEntries(store, fenced(poison), 'persist', ['dm:ann:cat'])).conflicts.length, 1)
  t.same(await listed('cat'), ['dm:ann:cat'], 'with a first entry that is refused too')
})

t.test('a tombstone is a void that gives way to its entry, and never replaces one', async (t) => {
  const c = 'dm:alice:tomb'
  await insertEntries(store, fenced(entryOf(c, 1)), 'persist')
  t.equal(await insertTombstone(store, { conversation: c, seq: 2, reason: 'rejected: too long' }), true)
  t.equal(await insertTombstone(store, { conversation: c, seq: 2, reason: 'again' }), false)
  t.equal(await insertTombstone(store, { conversation: c, seq: 1, reason: 'an entry is there' }), false)
  t.equal(await insertTombstone(store, { conversation: 'nonsense', seq: 1, reason: 'no such name' }), false)
  const rows = await readEntries(store, c, all)
  t.match(rows[1], { entry: { seq: 2, type: 'void', id: '', n: 1 }, void: { from: 2, to: 2 } })
  const requeued = entryOf(c, 2)
  t.same((await insertEntries(store, fenced(requeued), 'persist')).conflicts, [])
  t.match((await readEntries(store, c, all))[1], { entry: requeued, void: undefined })
})

t.test(
  'a void stands at its last seq and leaves out the rows that are in its range, however often it comes',
  async (t) => {
    const c = 'dm:alice:leap'
    const late = [entryOf(c, 4), entryOf(c, 5), entryOf(c, 9)]
    await insertEntries(store, fenced(entryOf(c, 2), ...late), 'persist')
    const leap = entryOf(c, 1_000_002, { id: '0', from: '', type: 'void', content: '{"from":3,"to":1000002}', n: 2 })
    const after = entryOf(c, 1_000_003)
    const told = async () => (await readEntries(store, c, all)).map(({ entry, void: range }) => range ?? entry.seq)
    const expected = [2, { from: 3, to: 3 }, 4, 5, { from: 6, to: 8 }, 9, { from: 10, to: 1_000_002 }, 1_000_003]
    await insertEntries(store, fenced(leap, after), 'persist')
    t.same(await told(), expected)
    t.same((await insertEntries(store, fenced(leap, after), 'persist')).conflicts, [], 'again, as after a lost reply')
    t.same(await told(), expected)
    const next = entryOf(c, 2_000_004, {
      id: '0',
      from: '',
      type: 'void',
      content: '{"from":1000004,"to":2000004}',
      n: 3,
    })
    await insertEntries(store, fenced(leap, next), 'persist')
    t.same((await told()).at(-1), { from: 1_000_004, to: 2_000_004 }, 'one that is known beside one that is not')
    t.same([...(await maxSeqs(store, [c]))], [[c, 2_000_004]])
  },
)

t.test('pages run up and down, the newest row of many conversations comes in one query', async (t) => {
  const c = 'dm:alice:pages'
  const entries = Array.from({ length: 30 }, (_, i) => entryOf(c, i + 1))
  await insertEntries(store, fenced(...entries, entryOf('dm:alice:pages2', 5)), 'persist')
  const seqs = async (range: Parameters<typeof readEntries>[2]) =>
    (await readEntries(store, c, range)).map(({ entry }) => entry.seq)
  t.same(await seqs({ after: 27, limit: 10 }), [28, 29, 30])
  t.same(await seqs({ before: 4, limit: 2 }), [2, 3])
  t.same(await seqs({ before: 1, limit: 2 }), [])
  const newest = await newestEntries(store, [c, 'dm:alice:pages2', 'dm:alice:none'])
  t.same([...newest].map(([conversation, { entry }]) => [conversation, entry.seq]).sort(), [
    [c, 30],
    ['dm:alice:pages2', 5],
  ])
  t.same(await newestEntries(store, []), new Map())
  t.same([...(await maxSeqs(store, [c]))], [[c, 30]])
})

t.test('the statements that matter use the index their comment names', async (t) => {
  const many = Array.from({ length: 2_000 }, (_, i) => entryOf(`dm:bulk:u${i % 40}`, Math.floor(i / 40) + 1))
  await insertEntries(store, fenced(...many), 'persist')
  await store.use((db) => db.select('ANALYZE TABLE entries'))
  const explain = (sql: string, values: (string | number | string[])[]) =>
    store.use((db) => db.select<{ table: string; key: string; type: string; Extra: string }>(`EXPLAIN ${sql}`, values))
  for (const sql of [entrySql.after, entrySql.before]) {
    const [row] = await explain(sql, ['dm:bulk:u1', 10, 5])
    t.match(row, { key: 'PRIMARY', type: 'range' }, sql)
    t.notMatch(row!.Extra, /filesort|temporary/)
  }
  const newest = await explain(entrySql.newest, [['dm:bulk:u1', 'dm:bulk:u2', 'dm:bulk:u3']])
  const entriesRow = newest.find((row) => row.table === 'e')
  t.match(entriesRow, { key: 'PRIMARY', type: 'eq_ref' })
  for (const row of newest) t.not(row.type, row.table === 'entries' ? 'ALL' : '', 'no table is read as a whole')
  t.match(
    newest.find((row) => row.table === 'entries'),
    { key: 'PRIMARY' },
  )
})

t.end()
