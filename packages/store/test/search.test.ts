import t from 'tap'
import {
  claimJob,
  conversationsBehind,
  indexConversation,
  indexPlaces,
  insertEntries,
  placesAfter,
  searchEntries,
  searchedUpTo,
  termsOf,
} from '../src/index.js'
import { searchSqlForTests } from '../src/search.js'
import { searchIndexSql } from '../src/search-index.js'
import { entryOf, freshDatabase } from './world.js'

const { store } = await freshDatabase(t)
const insert = (...list: ReturnType<typeof entryOf>[]) =>
  insertEntries(
    store,
    list.map((entry) => ({ partition: 1, fence: 1, entry })),
    'persist',
  )
const said = (conversation: string, seq: number, text: string, over = {}) =>
  entryOf(conversation, seq, { content: JSON.stringify({ text }), ...over })
const HIGHEST = '18446744073709551615'
const found = async (q: string, ...conversations: string[]) =>
  (
    await searchEntries(store, {
      terms: termsOf(q),
      within: conversations.map((conversation) => ({ conversation, floor: 0 })),
      upToId: HIGHEST,
      limit: 100,
      giveUpMs: 2_000,
    })
  ).map(({ conversation, seq }) => `${conversation} ${seq}`)
const job = (await claimJob(store, 'search', 'test'))!

t.test('rows are taken in upwards and without a gap, and again without harm', async (t) => {
  const [a, b] = ['dm:a:one', 'dm:a:two']
  const late = said(a, 2, 'apple two')
  await insert(said(a, 1, 'apple one'), said(b, 1, 'apple pie'), said(a, 3, 'apple three'))
  const places = await placesAfter(store, '0', 100)
  t.same(places.map(({ conversation, seq }) => `${conversation} ${seq}`).sort(), [`${a} 1`, `${a} 3`, `${b} 1`])
  const first = (await indexPlaces(store, job, places))!
  t.same(first.gaps, new Set([a]), 'what lies between is not there yet')
  t.same(
    await searchedUpTo(store, [a, b]),
    new Map([
      [a, 1],
      [b, 1],
    ]),
  )
  t.same((await found('apple', a)).sort(), [`${a} 1`])
  await insert(late)
  t.match(await conversationsBehind(store, '', 100), { behind: [a], last: undefined })
  await indexConversation(store, job, a, 1)
  await indexConversation(store, job, a, 100)
  t.equal((await indexConversation(store, job, a, 100))!.rows, 0)
  t.match(await conversationsBehind(store, '', 100), { behind: [] })
  await indexPlaces(store, job, places)
  t.same((await found('apple', a, b)).sort(), [`${a} 1`, `${a} 2`, `${a} 3`, `${b} 1`])
})

t.test('what is asked for is a word, a conversation, a sender and a time, and all of it holds', async (t) => {
  const [c, other] = ['dm:a:all', 'dm:a:other']
  await insert(
    said(c, 1, 'pear', { from: 'bob', sentAt: 100 }),
    said(c, 2, 'pear', { from: 'ann', sentAt: 200 }),
    said(other, 1, 'pear', { sentAt: 150 }),
    entryOf(c, 3, { type: 'file', content: '{"name":"pear.pdf","size":3}' }),
    entryOf(c, 4, { type: 'x-app', content: '{"text":"pear"}' }),
    entryOf(c, 5, { content: '{"text":{"not":"pear"}}' }),
  )
  for (const one of [c, other]) await indexConversation(store, job, one, 100)
  t.same((await found('pear', c)).sort(), [`${c} 1`, `${c} 2`, `${c} 3`], 'texts and names of files')
  t.same(await found('pear'), [], 'nowhere is nowhere')
  const ask = async (over: object) => {
    const base = {
      terms: termsOf('pear'),
      within: [{ conversation: c, floor: 0 }],
      upToId: HIGHEST,
      limit: 10,
      giveUpMs: 2_000,
    }
    return (await searchEntries(store, { ...base, ...over })).map(({ seq }) => seq)
  }
  t.same(await ask({ from: 'bob' }), [1])
  t.same(await ask({ before: 200 }), [1])
  t.same(await ask({ after: 100, before: 1_000 }), [2])
  t.same(await ask({ within: [{ conversation: c, floor: 2 }] }), [3], 'above the floor')
  t.same(await ask({ upToId: '1' }), [])
})

t.test('a worker that slept while another one took over writes nothing', async (t) => {
  const c = 'dm:a:fenced'
  await insert(said(c, 1, 'plum'))
  await store.use((db) => db.run("UPDATE jobs SET `until` = NOW(3) - INTERVAL 1 SECOND WHERE name = 'search'"))
  const other = (await claimJob(store, 'search', 'other'))!
  t.equal(await indexConversation(store, job, c, 100), undefined)
  t.equal(await indexPlaces(store, job, [{ id: '1', conversation: c, seq: 1 }]), undefined)
  t.same(await found('plum', c), [])
  await indexConversation(store, other, c, 100)
  t.same(await found('plum', c), [`${c} 1`])
})

t.test('the statements that matter use the index their comment names', async (t) => {
  const many = Array.from({ length: 2_000 }, (_, i) => entryOf(`dm:bulk:u${i % 40}`, Math.floor(i / 40) + 1))
  await insert(...many)
  await store.use((db) => db.select('ANALYZE TABLE entries'))
  const explain = (sql: string, values: (string | number | string[])[]) =>
    store.use((db) => db.select<{ table: string; key: string; type: string; Extra: string }>(`EXPLAIN ${sql}`, values))
  const [places] = await explain(searchIndexSql.places, ['0', 100])
  t.match(places, { key: 'entries_id', Extra: /Using index/ })
  t.notMatch(places!.Extra, /filesort|temporary/)
  for (const row of await explain(searchIndexSql.behind, ['', 100])) {
    if (row.table === 'entries') t.match(row, { key: 'PRIMARY', Extra: /Using index/ })
    if (row.table === 'h') t.match(row, { key: 'PRIMARY', type: 'eq_ref' })
  }
  // EXPLAIN stands before the SELECT, and not before what MariaDB is told of its time.
  const select = searchSqlForTests.slice(searchSqlForTests.indexOf('SELECT'))
  const [search] = await explain(select, ['+toka', '+(cnv1) +toka', ['dm:a:one'], HIGHEST, 10])
  t.match(search, { key: 'search_entries_words', type: 'fulltext' })
})

t.end()
