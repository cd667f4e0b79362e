import t, { type Test } from 'tap'
import {
  type Delivery,
  dropLetter,
  ensureGroups,
  type Group,
  type Handler,
  lastLetter,
  PoisonError,
  readLetters,
  reclaim,
  requireCapacity,
  retryLetter,
  settle,
} from '../src/index.js'
import { consumer, fieldsOf } from './parts.js'
import { type Bench, bench, log, until } from './stores.js'

/** Owns the one partition, and remembers what is warned of. */
async function owner(t: Test, b: Bench, group: Group, handler: Handler, told: string[] = []): Promise<void> {
  const warn = { value: (_facts: unknown, what: string) => told.push(what) }
  const one = await consumer(t, b, handler, { group, log: Object.create(log, { warn }) as typeof log })
  one.own(0, 1)
}

/** Sets one entry aside, as the consume loop does. */
async function letter(b: Bench, fields: readonly string[], reason = 'because'): Promise<string> {
  await ensureGroups(b.redis, b.keys, 'persist', [0])
  const streamId = (await b.redis.xadd(b.keys.messages(0), '*', ...fields))!
  await b.redis.xreadgroup('GROUP', 'persist', 'one', 'COUNT', 1, 'STREAMS', b.keys.messages(0), '>')
  const dead = [{ streamId, fields, reason, deliveries: 3 }]
  await settle(b.redis, b.keys, 'persist', [{ partition: 0, fence: 1, done: [], dead }])
  return (await lastLetter(b.redis, b.keys, { group: 'persist', partition: 0 }))!
}

const at = (id: string) => ({ group: 'persist' as const, partition: 0, id })

t.test('letters are read in pages, each with the fields as they were found and why it was given up', async (t) => {
  const b = await bench(t, 1)
  const odd = ['hello', 'wo\u0007rld', 'reason', 'of its own']
  const ids = [await letter(b, fieldsOf()), await letter(b, odd), await letter(b, fieldsOf({ seq: '3' }))]
  const where = { group: 'persist' as const, partition: 0 }
  const first = await readLetters(b.redis, b.keys, where, { limit: 2 })
  t.match(first, [
    { ...where, id: ids[0], fields: fieldsOf(), reason: 'because', deliveries: 3 },
    { ...where, id: ids[1], fields: odd, reason: 'because', deliveries: 3 },
  ])
  const rest = await readLetters(b.redis, b.keys, where, { after: ids[1], limit: 2 })
  t.same(
    rest.map(({ id }) => id),
    [ids[2]],
  )
  const older = await readLetters(b.redis, b.keys, where, { upTo: ids[0]!, limit: 9 })
  t.equal(older.length, 1)
})

t.test('an entry with more fields than a script can hand on is set aside without the last of them', async (t) => {
  const b = await bench(t, 1)
  const fields = Array.from({ length: 20_000 }, (_, i) => `word ${i}`)
  const id = await letter(b, fields)
  const [found] = await readLetters(b.redis, b.keys, { group: 'persist', partition: 0 }, { limit: 1 })
  t.match(found, { id, reason: 'because (without 8000 of its fields)', fields: fields.slice(0, 4_000) })
})

t.test('what the dead stream does not take stays pending', async (t) => {
  const b = await bench(t, 1)
  const dead = b.keys.dead(0, 'persist')
  await b.redis.xadd(dead, '18446744073709551615-18446744073709551615', 'by', 'hand')
  await letter(b, fieldsOf())
  t.equal(await b.redis.xlen(dead), 1, 'it has no id left')
  t.equal((await b.redis.xpending(b.keys.messages(0), 'persist'))[0], 1)
})

t.test('a retry puts back exactly the fields of the entry, once', async (t) => {
  const b = await bench(t, 1)
  const id = await letter(b, fieldsOf())
  const streamId = await retryLetter(b.redis, b.keys, at(id))
  const [last] = await b.redis.xrevrange(b.keys.messages(0), '+', '-', 'COUNT', 1)
  t.same(last, [streamId, fieldsOf()], 'at the end of the stream')
  t.equal(await b.redis.xlen(b.keys.dead(0, 'persist')), 0)
  t.equal(await retryLetter(b.redis, b.keys, at(id)), undefined, 'the second time it is gone')
  t.equal(await b.redis.xlen(b.keys.messages(0)), 2)
})

t.test('what somebody else wrote into a dead stream is not put back, and a drop removes it', async (t) => {
  const b = await bench(t, 1)
  const id = (await b.redis.xadd(b.keys.dead(0, 'persist'), '*', 'reason', 'x', 'deliveries', '1', 'entry', '1-1'))!
  await t.rejects(retryLetter(b.redis, b.keys, at(id)), /not a dead letter/)
  t.equal(await b.redis.exists(b.keys.messages(0)), 0)
  t.equal(await dropLetter(b.redis, b.keys, at(id)), true)
  t.equal(await dropLetter(b.redis, b.keys, at(id)), false)
})

t.test('a retry of what is still poison ends as a new letter, and does not go round', async (t) => {
  const b = await bench(t, 1)
  let handled = 0
  await owner(t, b, 'persist', {
    async handle(batch) {
      handled += batch.length
      return { poisoned: batch.map((delivery) => ({ delivery, reason: 'seq_conflict' })) }
    },
  })
  await b.redis.xadd(b.keys.messages(0), '*', ...fieldsOf())
  await until('a letter', async () => (await b.redis.xlen(b.keys.dead(0, 'persist'))) === 1)
  const first = (await lastLetter(b.redis, b.keys, { group: 'persist', partition: 0 }))!
  await retryLetter(b.redis, b.keys, at(first))
  await until('a new one', async () => {
    const last = await lastLetter(b.redis, b.keys, { group: 'persist', partition: 0 })
    return last !== undefined && last !== first
  })
  t.equal(await b.redis.xlen(b.keys.dead(0, 'persist')), 1)
  t.equal(handled, 2, 'once each time')
})

t.test('a dead letter of push is given to push again', async (t) => {
  const b = await bench(t, 1)
  let broken = true
  const pushed: Delivery[] = []
  await owner(t, b, 'push', {
    async handle(batch) {
      if (broken) throw new PoisonError('nobody can be found')
      pushed.push(...batch)
      return {}
    },
  })
  await b.redis.xadd(b.keys.messages(0), '*', ...fieldsOf())
  await until('a letter', async () => (await b.redis.xlen(b.keys.dead(0, 'push'))) === 1)
  broken = false
  const id = (await lastLetter(b.redis, b.keys, { group: 'push', partition: 0 }))!
  await retryLetter(b.redis, b.keys, { group: 'push', partition: 0, id })
  await until('pushed', () => pushed.length === 1)
  t.equal(pushed[0]!.entry.seq, 1)
})

t.test('a group with its fill of dead letters pauses and loses nothing; with room again it goes on', async (t) => {
  // So many partitions that the share of one is small.
  const b = await bench(t, 1_024)
  const most = Math.ceil(100_000 / 1_024)
  for (let i = 0; i < most; i++) await b.redis.xadd(b.keys.dead(0, 'persist'), '*', 'some', 'letter')
  await t.rejects(requireCapacity(b.redis, b.keys, 'persist', 0), { code: 'unavailable', message: /npm run dead/ })
  await b.redis.xadd(b.keys.messages(0), '*', 'poison', 'indeed')
  const buried: string[] = []
  const told: string[] = []
  const handler: Handler = {
    handle: async () => ({}),
    async bury(_owner, _fields, reason) {
      buried.push(reason)
    },
  }
  await owner(t, b, 'persist', handler, told)
  const pending = async () => Number(((await b.redis.xpending(b.keys.messages(0), 'persist')) as [number])[0])
  await until('it says that it pauses', () => told.some((what) => what.startsWith('paused')))
  t.equal(await pending(), 1, 'read, and not settled')
  t.equal(await b.redis.xlen(b.keys.dead(0, 'persist')), most)
  t.same(buried, [], 'no tombstone either')
  const oldest = (await readLetters(b.redis, b.keys, { group: 'persist', partition: 0 }, { limit: 1 }))[0]!
  await dropLetter(b.redis, b.keys, oldest)
  await until('set aside', async () => (await pending()) === 0)
  t.equal(await b.redis.xlen(b.keys.dead(0, 'persist')), most)
  t.equal(buried.length, 1)
})

t.test('a gone consumer is removed, but only when nothing of it is pending any more', async (t) => {
  const b = await bench(t, 1)
  const stream = b.keys.messages(0)
  await ensureGroups(b.redis, b.keys, 'persist', [0])
  const ids = [await b.redis.xadd(stream, '*', ...fieldsOf()), await b.redis.xadd(stream, '*', ...fieldsOf())]
  await b.redis.xreadgroup('GROUP', 'persist', 'gone', 'COUNT', 2, 'STREAMS', stream, '>')
  const names = async () =>
    ((await b.redis.xinfo('CONSUMERS', stream, 'persist')) as (string | number)[][]).map((row) => row[1])
  const take = (forgetAfterMs: number) =>
    reclaim(b.redis, b.keys, { group: 'persist', consumer: 'one', partition: 0, limit: 1, forgetAfterMs })
  const first = await take(0)
  t.same(
    first.rows.map(([id]) => id),
    [ids[0]],
    'the oldest first, as many as were asked for',
  )
  t.ok((await names()).includes('gone'), 'one entry is still pending with it')
  const second = await take(0)
  t.same(
    second.rows.map(([id]) => id),
    [ids[1]],
  )
  await take(600_000)
  t.ok((await names()).includes('gone'), 'empty, and not long enough')
  await until('idle for a moment', async () => {
    await take(0)
    return !(await names()).includes('gone')
  })
  t.equal(Number(((await b.redis.xpending(stream, 'persist')) as [number])[0]), 2, 'all of it is with the taker')
})
