import type { Delivery } from '@tidings/stream'
import t from 'tap'
import { world } from './world.js'

const { redis, keys, persister, questions, count, append, rows } = await world(t)
const owner = { partition: 0, fence: 1 }
const quiet = () => true
const filled = () => count('tidings_holes_filled_total')
const lost = () => count('tidings_holes_lost_total')

/** Entries of a conversation, the seqs as they are given to people. */
async function appended(conversation: string, from: number, to: number): Promise<Delivery[]> {
  const deliveries: Delivery[] = []
  for (let seq = from; seq <= to; seq++) deliveries.push(await append(conversation, seq))
  return deliveries
}

t.test('an entry that follows costs a transaction and no question', async (t) => {
  const c = 'dm:alice:follow'
  const all = await appended(c, 1, 20)
  await persister.handle([all[0]!])
  const before = questions()
  for (const one of all.slice(1)) await persister.handle([one])
  t.equal(questions() - before, 19, 'a transaction each, and no question')
  t.equal(await filled(), 0)
  t.same((await rows(c)).length, 20)
})

t.test('entries that were passed over come from the log, before the one that shows it', async (t) => {
  const c = 'dm:alice:hole'
  const [one, two, three, four, five] = await appended(c, 1, 5)
  await persister.handle([one!])
  await persister.handle([four!])
  t.same(await rows(c), [1, 2, 3, 4])
  t.equal(await filled(), 2)
  t.same(await persister.handle([two!, three!, four!]), { poisoned: [], fenced: new Map() }, 'given late all the same')
  await persister.handle([five!])
  t.same(await rows(c), [1, 2, 3, 4, 5])
  t.equal(await filled(), 2, 'nothing was taken for missing again')
  const begun = await appended('dm:alice:begun', 1, 3)
  await persister.handle([begun[2]!])
  t.same(await rows('dm:alice:begun'), [1, 2, 3], 'also the beginning of a conversation')
})

t.test('a batch in another order has no hole', async (t) => {
  const c = 'dm:alice:order'
  const [one, two, three] = await appended(c, 1, 3)
  const before = await filled()
  await persister.handle([one!, three!, two!])
  t.same(await rows(c), [1, 2, 3])
  t.equal(await filled(), before)
})

t.test('more than one page of a log', async (t) => {
  const c = 'dm:alice:pages'
  const all = await appended(c, 1, 1_203)
  await persister.handle([all[0]!])
  await persister.handle([all.at(-1)!])
  t.equal((await rows(c)).length, 1_203)
})

t.test('a leap’s void is no hole, and one that was passed over comes from the log', async (t) => {
  const leap = (seq: number, from: number, c: string) =>
    append(c, seq, { id: '0', from: '', type: 'void', content: JSON.stringify({ from, to: seq }), n: 2 })
  const c = 'dm:alice:leap'
  await persister.handle(await appended(c, 1, 2))
  const before = await filled()
  await persister.handle([await leap(2_000_000_000, 3, c)])
  await persister.handle([await append(c, 2_000_000_001, { n: 3 })])
  t.same([await rows(c), (await filled()) - before], [[1, 2, '3-2000000000', 2_000_000_001], 0])
  const passed = 'dm:alice:leapt'
  await persister.handle(await appended(passed, 1, 2))
  await leap(2_000_000_000, 3, passed)
  await persister.handle([await append(passed, 2_000_000_001, { n: 3 })])
  t.same(await rows(passed), [1, 2, '3-2000000000', 2_000_000_001])
  t.equal(await lost(), 0)
})

t.test('an entry that was set aside is no hole, and above a hole it hides none', async (t) => {
  const c = 'dm:alice:aside'
  const [one, , three] = await appended(c, 1, 3)
  await persister.handle([one!])
  const fields = (seq: number) => ['conversation', c, 'seq', String(seq)]
  await persister.bury!(owner, fields(2), 'broken')
  const before = await filled()
  await persister.handle([three!])
  t.same([await rows(c), (await filled()) - before], [[1, '2-2 broken', 3], 0])
  const more = await appended(c, 4, 7)
  await persister.bury!(owner, fields(6), 'broken')
  t.same(await rows(c), [1, '2-2 broken', 3, 4, 5, '6-6 broken'], '4 and 5 were never given')
  await persister.handle([more[3]!])
  t.same((await rows(c)).at(-1), 7)
})

t.test('what the log does not have either is void, reported, and gives way to what comes late', async (t) => {
  await t.resolves(persister.checkLost())
  const c = 'dm:alice:lost'
  const all = await appended(c, 1, 8)
  await persister.handle([all[0]!])
  await redis.xdel(keys.log(c), '2-0', '3-0', '4-0', '6-0')
  await persister.handle([all[7]!])
  t.same(await rows(c), [1, '2-4 lost', 5, '6-6 lost', 7, 8])
  t.equal(await lost(), 4)
  await t.rejects(persister.checkLost(), { message: /^4 entries were lost/ })
  await persister.handle([all[3]!])
  t.same(await rows(c), [1, '2-3 lost', 4, 5, '6-6 lost', 7, 8])
  await persister.handle([all[1]!])
  await persister.handle([all[2]!, all[5]!])
  t.same(await rows(c), [1, 2, 3, 4, 5, 6, 7, 8])
})

t.test('a log that somebody has written into is read without what cannot be read', async (t) => {
  const c = 'dm:alice:scribbled'
  const all = await appended(c, 1, 2)
  await persister.handle([all[0]!])
  await redis.xadd(keys.log(c), '3-0', 'hello', 'world')
  const before = [await filled(), await lost()]
  await persister.handle([await append(c, 4)])
  t.same(await rows(c), [1, 2, '3-3 lost', 4])
  t.same([await filled(), await lost()], [before[0]! + 1, before[1]! + 1])
  await redis.xadd(keys.log(c), '5-0', 'hello', 'world')
  const leap = { id: '0', from: '', type: 'void', content: '{"from":6,"to":2000000000}', n: 4 }
  await append(c, 2_000_000_000, leap)
  await persister.handle([await append(c, 2_000_000_001, { n: 5 })])
  t.same((await rows(c)).slice(4), ['5-5 lost', '6-2000000000', 2_000_000_001], 'also where a leap follows')
})

t.test('a seq beyond the head was written by hand, and nothing below it is lost', async (t) => {
  const c = 'dm:alice:forged'
  const [one, two] = await appended(c, 1, 2)
  await persister.handle([one!])
  const before = await lost()
  await persister.handle([{ ...two!, entry: { ...two!.entry, id: '77', seq: 1_000_000 } }])
  t.same(await rows(c), [1, 2, 1_000_000])
  t.equal(await lost(), before)
})

t.test('nothing follows: heads are compared with rows, but only where all is settled', async (t) => {
  const stream = keys.messages(0)
  await redis.xgroup('CREATE', stream, 'persist', '$')
  const [c, open, gone] = ['dm:alice:tail', 'dm:alice:unread', 'dm:alice:gone']
  await persister.handle([(await appended(c, 1, 4))[0]!])
  await redis.xgroup('SETID', stream, 'persist', '$')
  const changed = Number(await redis.zscore(keys.recent(0), c))
  await appended(open, 1, 2)
  // As append.lua leaves it, when it was one of many in a call: the call began before the entry had its id.
  await redis.zadd(keys.recent(0), changed - 1_000, open)
  await redis.zadd(keys.recent(0), changed - 60_000, c)
  await persister.compare(owner, quiet)
  t.same(await rows(c), [1, 2, 3, 4])
  t.same(await rows(open), [], 'the group will be given it')
  await redis.xreadgroup('GROUP', 'persist', 'other', 'COUNT', 10, 'STREAMS', stream, '>')
  await persister.compare(owner, quiet)
  t.same(await rows(open), [], 'somebody has it in hand')
  await redis.xgroup('DELCONSUMER', stream, 'persist', 'other')
  await persister.compare(owner, quiet)
  t.same(await rows(open), [1, 2], 'taken away from him who had it')

  await appended(gone, 1, 2)
  await redis.del(keys.log(gone))
  await redis.xgroup('SETID', stream, 'persist', '$')
  const before = await lost()
  await persister.compare(owner, () => false)
  t.same(await rows(gone), [], 'an entry may be in the hands of a handler')
  await persister.compare(owner, quiet)
  t.same(await rows(gone), ['1-2 lost'])
  t.equal(await lost(), before + 2)
  const asked = questions()
  await persister.compare(owner, quiet)
  t.ok(questions() - asked <= 1, 'a look at what changed since is one question at most')
})

t.test('a head of another type, by hand, hides no hole of another conversation', async (t) => {
  const [broken, c] = ['dm:alice:broken', 'dm:alice:well']
  await appended(broken, 1, 1)
  await appended(c, 1, 2)
  await redis.xgroup('SETID', keys.messages(0), 'persist', '$')
  await redis.del(keys.seq(broken))
  await redis.lpush(keys.seq(broken), 'by hand')
  await persister.compare(owner, quiet)
  t.same(await rows(c), [1, 2])
  await redis.zrem(keys.recent(0), broken)
})

t.test('a thousand conversations of one moment are compared, page by page', async (t) => {
  const stream = keys.messages(0)
  const [seconds = 0] = await redis.time()
  const names = Array.from({ length: 1_100 }, (_, i) => `dm:alice:many${i}`)
  for (const name of names) await append(name, 1)
  // Of one millisecond, but for a few.
  for (const name of names.slice(50)) await redis.zadd(keys.recent(0), (seconds + 1) * 1_000, name)
  await redis.xgroup('SETID', stream, 'persist', '$')
  await persister.compare({ partition: 0, fence: 3 }, quiet)
  for (const name of [names[0]!, names[500]!, names.at(-1)!]) t.same(await rows(name), [1])
  t.ok((await filled()) > 1_100)
})

t.end()
