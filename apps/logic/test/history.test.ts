import { voidEntry } from '@tidings/protocol'
import { insertEntries, insertTombstone } from '@tidings/store'
import t from 'tap'
import { readHistory } from '../src/history.js'
import { world } from './world.js'

const { deps, redis, keys, store, mysql, people, say, persist, forgetRedis } = await world(t)
await people('alice', 'bob', 'carol', 'erin')
const C = 'dm:alice:bob'

async function read(
  range: { before?: number; after?: number; fromStart?: boolean; limit?: number },
  user = 'alice',
  conversation = C,
) {
  const request = { user, conversation, before: 0, after: 0, fromStart: false, limit: 0, ...range }
  const { entries, ...rest } = await readHistory(deps, request)
  return { seqs: entries.map(({ seq }) => seq), ...rest }
}
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
/** Trims the log as task does: what is stored may go. */
const trim = (conversation: string, from: number) => redis.xtrim(keys.log(conversation), 'MINID', `${from}-0`)

t.test('a log that covers the range needs no MySQL', async (t) => {
  for (const n of numbers(1, 30)) await say(n % 2 ? 'alice' : 'bob', n % 2 ? 'bob' : 'alice', `number ${n}`)
  mysql.cut()
  t.same(await read({}), { seqs: numbers(1, 30), voids: [], head: 30, complete: true })
  t.same(await read({ limit: 5 }), { seqs: numbers(26, 30), voids: [], head: 30, complete: true })
  t.same(await read({ before: 11, limit: 3 }), { seqs: [8, 9, 10], voids: [], head: 30, complete: true })
  t.same(await read({ before: 3 }), { seqs: [1, 2], voids: [], head: 30, complete: true })
  t.same(await read({ before: 999, limit: 2 }), { seqs: [29, 30], voids: [], head: 30, complete: true })
  t.same(await read({ fromStart: true, limit: 3 }), { seqs: [1, 2, 3], voids: [], head: 30, complete: true })
  t.same(await read({ after: 28 }), { seqs: [29, 30], voids: [], head: 30, complete: true })
  t.same(await read({ after: 30 }), { seqs: [], voids: [], head: 30, complete: true })
  t.same(await read({ after: 5_000 }), { seqs: [], voids: [], head: 30, complete: true })
  mysql.heal()
})

t.test('what was trimmed comes from MySQL, as one range with the log', async (t) => {
  await persist(C)
  await trim(C, 21)
  for (const n of numbers(31, 35)) await say('alice', 'bob', `not stored yet ${n}`)
  t.same(await read({ limit: 200 }), { seqs: numbers(1, 35), voids: [], head: 35, complete: true })
  t.same(await read({ limit: 20 }), { seqs: numbers(16, 35), voids: [], head: 35, complete: true })
  t.same(await read({ after: 15, limit: 10 }), { seqs: numbers(16, 25), voids: [], head: 35, complete: true })
  t.same(await read({ before: 21, limit: 4 }), { seqs: [17, 18, 19, 20], voids: [], head: 35, complete: true })
  const { entries } = await readHistory(deps, {
    user: 'bob',
    conversation: C,
    before: 4,
    after: 0,
    fromStart: false,
    limit: 1,
  })
  t.match(entries[0], { seq: 3, from: 'alice', type: 'text', content: '{"text":"number 3"}', id: /^\d{19}$/ })
  t.notOk('trace' in entries[0]!, 'traces stay inside')
})

t.test('MySQL is needed and away: unavailable, never a short page', async (t) => {
  mysql.cut()
  await t.rejects(read({ limit: 50 }), { code: 'unavailable' })
  await t.rejects(read({ fromStart: true, limit: 5 }), { code: 'unavailable' })
  t.same((await read({ limit: 10 })).seqs, numbers(26, 35), 'the log alone is enough here')
  mysql.heal()
})

t.test('declared voids are told, and a hole that nobody declared makes the page incomplete', async (t) => {
  const V = 'dm:alice:carol'
  for (const n of numbers(1, 4)) await say('alice', 'carol', `number ${n}`)
  const entries = await persist(V)
  await redis.del(keys.log(V))
  await redis.set(keys.seq(V), 1_000_010)
  await insertTombstone(store, { conversation: V, seq: 5, reason: 'rejected' })
  const leap = { ...entries[0]!, id: '0', seq: 1_000_009, type: 'void', content: '{"from":7,"to":1000009}' }
  const last = { ...entries[0]!, id: '7300000000000000002', seq: 1_000_010 }
  await insertEntries(
    store,
    [leap, last].map((entry) => ({ partition: 0, fence: 1, entry })),
    'persist',
  )
  const holed = {
    seqs: [1, 2, 3, 4, 1_000_010],
    voids: [
      { from: 5, to: 5 },
      { from: 7, to: 1_000_009 },
    ],
    head: 1_000_010,
    complete: false,
  }
  t.same(await read({}, 'alice', V), holed, 'nobody knows of 6')
  await insertTombstone(store, { conversation: V, seq: 6, reason: 'dropped' })
  const whole = await read({}, 'alice', V)
  t.same(
    [whole.complete, whole.voids],
    [
      true,
      [
        { from: 5, to: 5 },
        { from: 6, to: 6 },
        { from: 7, to: 1_000_009 },
      ],
    ],
  )
  t.same(
    await read({ after: 500_000, limit: 5 }, 'alice', V),
    {
      seqs: [1_000_010],
      voids: [{ from: 500_001, to: 1_000_009 }],
      head: 1_000_010,
      complete: true,
    },
    'the inside of a void is told as far as it was asked for',
  )
  t.same(await read({ before: 1_000, limit: 2 }, 'alice', V), {
    seqs: [3, 4],
    voids: [
      { from: 5, to: 5 },
      { from: 6, to: 6 },
      { from: 7, to: 999 },
    ],
    head: 1_000_010,
    complete: true,
  })
})

t.test('voids take no room of a page: one with fewer entries than its limit is the last', async (t) => {
  const V = 'dm:alice:erin'
  for (const n of numbers(1, 6)) await say('alice', 'erin', `number ${n}`)
  const [first] = await persist(V)
  const leap = { ...first!, id: '0', from: '', seq: 1_000, type: 'void', content: '{"from":7,"to":1000}' }
  const later = numbers(1_001, 1_006).map((seq) => ({
    ...first!,
    id: String(7_400_000_000_000_000_000n + BigInt(seq)),
    seq,
  }))
  await insertEntries(
    store,
    [leap, ...later].map((entry) => ({ partition: 0, fence: 1, entry })),
    'persist',
  )
  await redis.set(keys.seq(V), 1_006)
  t.same(await read({ fromStart: true, limit: 8 }, 'alice', V), {
    seqs: [...numbers(1, 6), 1_001, 1_002],
    voids: [{ from: 7, to: 1_000 }],
    head: 1_006,
    complete: true,
  })
  t.same((await read({ before: 1_003, limit: 4 }, 'alice', V)).seqs, [5, 6, 1_001, 1_002])
  t.same((await read({ after: 6, limit: 6 }, 'alice', V)).seqs, numbers(1_001, 1_006))
})

t.test('an entry that came late into a void stands in it, and what is left of the void is around it', async (t) => {
  const c = 'dm:erin:late'
  await people('late')
  for (const n of numbers(1, 6)) await say('erin', 'late', `number ${n}`)
  const entries = await deps.reader.after(c, 0, 10)
  const rows = (seqs: number[]) =>
    entries.filter(({ seq }) => seqs.includes(seq)).map((entry) => ({ partition: 0, fence: 1, entry }))
  await insertEntries(
    store,
    [...rows([1]), { partition: 0, fence: 1, entry: voidEntry(c, { from: 2, to: 5 }, 1, 0) }],
    'p',
  )
  await insertEntries(store, rows([3, 6]), 'p')
  await redis.del(keys.log(c))
  const expected = { seqs: [1, 3, 6], head: 6, complete: true }
  const voids = [
    { from: 2, to: 2 },
    { from: 4, to: 5 },
  ]
  t.same(await read({}, 'erin', c), { ...expected, voids })
  t.same(await read({ fromStart: true }, 'erin', c), { ...expected, voids })
  t.same(await read({ after: 2 }, 'erin', c), { ...expected, seqs: [3, 6], voids: voids.slice(1) })
  t.same(await read({ before: 5 }, 'erin', c), { ...expected, seqs: [1, 3], voids: [voids[0], { from: 4, to: 4 }] })
})

t.test('after Redis forgot, MySQL alone answers', async (t) => {
  await persist(C)
  await forgetRedis()
  t.same(await read({ limit: 200 }), { seqs: numbers(1, 35), voids: [], head: 35, complete: true })
  mysql.cut()
  await t.rejects(read({}), { code: 'unavailable' }, 'no head, no answer')
  mysql.heal()
})

t.test('an empty conversation exists when the other person does; strangers learn nothing', async (t) => {
  const empty = { seqs: [], voids: [], head: 0, complete: true }
  t.same(await read({}, 'bob', 'dm:bob:carol'), empty)
  t.same(await read({}, 'bob', 'dm:bob:bob'), empty)
  t.same(await read({}, 'bob', 'feed:bob'), empty)
  t.same(await read({}, 'bob', 'feed:*'), empty)
  for (const foreign of [
    'dm:bob:nobody',
    'dm:alice:carol',
    'dm:carol:bob',
    'dm:Bob:bob',
    'room:abcdefghij012345',
    'feed:alice',
    'x',
  ]) {
    await t.rejects(read({}, 'bob', foreign), { code: 'conversation_not_found' }, foreign)
  }
})

t.test('what cannot be asked for is refused', async (t) => {
  for (const range of [
    { before: 5, after: 5 },
    { before: 5, fromStart: true },
    { limit: 201 },
    { limit: -1 },
    { before: 1.5 },
    { after: -1 },
  ]) {
    await t.rejects(read(range), { code: 'invalid_request' }, JSON.stringify(range))
  }
})

t.end()
