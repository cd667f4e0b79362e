import t from 'tap'
import { type Delivery, ensureGroups } from '../src/index.js'
import { newlyOwned } from '../src/owned.js'
import { createReads } from '../src/reads.js'
import { appenderOf, collect, consumer, fieldsOf, item, pendingOf } from './parts.js'
import { bench, log, until } from './stores.js'

t.test('a partition that is taken or given away counts at once, though a read is blocked', async (t) => {
  const b = await bench(t, 4)
  const seen: Delivery[] = []
  const one = await consumer(t, b, collect(seen))
  const appender = appenderOf(b)
  const mine = b.keys.partitionOf('dm:alice:bob')
  one.own((mine + 1) % 4, 1)
  await appender.append(item())
  one.own(mine, 1)
  await until('seen', () => seen.length === 1)
  await one.release(mine)
  t.notOk(one.owned.has(mine))
  await appender.append(item())
  const again: Delivery[] = []
  const two = await consumer(t, b, collect(again), { name: 'two' })
  two.own(mine, 2)
  await until('the next owner has it', () => again.length === 1)
  t.equal(again[0]!.entry.seq, 2)
  t.equal(seen.length, 1)
})

t.test('when all was given away between two steps of reading, nothing is asked', async (t) => {
  const b = await bench(t, 1)
  const owned = new Map([[0, newlyOwned(0, 1)]])
  const { redis, keys, metrics } = b
  const never = (): never => t.fail('nothing is gone or missed') as never
  const reads = createReads({
    ...{ group: 'persist', consumer: 'one', keys, redis, owned, onGone: never, onMissed: never, metrics, log },
  })
  const asked: string[] = []
  const send = async (command: Uint8Array): Promise<null> => {
    asked.push(String(command))
    return null
  }
  t.same(await reads.readNew(true, send), [])
  t.match(asked, [/XREADGROUP/])
  owned.clear()
  t.same(await reads.readNew(true, send), [])
  t.equal(asked.length, 1, 'a command without a stream would be refused')
})

t.test('a group that gathers takes together what comes meanwhile; below its pace nothing waits', async (t) => {
  const b = await bench(t, 1)
  const appender = appenderOf(b)
  const into = (batches: number[]) => ({
    async handle(batch: readonly Delivery[]) {
      batches.push(batch.length)
      return {}
    },
  })
  const [gathered, hurried]: [number[], number[]] = [[], []]
  const one = await consumer(t, b, into(gathered), { gatherMs: 2_000 })
  const other = await consumer(t, b, into(hurried), { group: 'push', gatherMs: 60_000, gatherFrom: 1_000_000 })
  for (const each of [one, other]) each.own(0, 1)
  for (let i = 1; i <= 4; i++) {
    await appender.append(item())
    await until('the one in a hurry has it', () => hurried.length === i)
    await until('the other has begun', () => gathered.length > 0)
  }
  await until('all of it', () => gathered.reduce((sum, n) => sum + n, 0) === 4)
  t.same(
    [gathered, hurried],
    [
      [1, 3],
      [1, 1, 1, 1],
    ],
  )
})

t.test(
  'a group that gathers does not wait while one partition of several has more than it was asked for',
  async (t) => {
    const b = await bench(t, 2)
    const appender = appenderOf(b)
    const [hot, quiet] = [0, 1].map(
      (p) =>
        ['dm:alice:bob', 'dm:alice:carol', 'dm:alice:dave', 'dm:alice:erin'].find(
          (one) => b.keys.partitionOf(one) === p,
        )!,
    )
    await Promise.all(Array.from({ length: 1_200 }, () => appender.append(item({ conversation: hot! }))))
    await appender.append(item({ conversation: quiet! }))
    const seen: Delivery[] = []
    const one = await consumer(t, b, collect(seen), { gatherMs: 600_000 })
    for (const partition of [0, 1]) one.own(partition, 1)
    await until('all of it', () => seen.length === 1_201)
  },
)

t.test('what a dead consumer left pending is taken over, oldest first', async (t) => {
  const b = await bench(t, 1)
  const appender = appenderOf(b)
  await ensureGroups(b.redis, b.keys, 'persist', [0])
  for (let i = 0; i < 5; i++) await appender.append(item())
  await b.redis.xreadgroup('GROUP', 'persist', 'dead-one', 'COUNT', 3, 'STREAMS', b.keys.messages(0), '>')
  const seen: Delivery[] = []
  const one = await consumer(t, b, collect(seen))
  one.own(0, 1)
  await until('all seen', () => seen.length === 5)
  t.same(
    seen.map(({ entry }) => entry.seq),
    [1, 2, 3, 4, 5],
  )
  await until('nothing pending', async () => (await pendingOf(b, 0)) === 0)
})

t.test(
  'a worker that wakes up late and reads after it lost the partition: its entries are taken from it',
  async (t) => {
    const b = await bench(t, 1)
    const appender = appenderOf(b)
    const seen: Delivery[] = []
    const one = await consumer(t, b, collect(seen))
    one.own(0, 2)
    await appender.append(item())
    await until('the owner reads', () => seen.length === 1)
    await appender.append(item())
    await until('all seen', () => seen.length === 2)
    await b.redis.xadd(b.keys.messages(0), '*', ...fieldsOf({ seq: '3' }))
    // Either the owner has read it already or the zombie has it now: both end with the owner.
    await b.redis.xreadgroup('GROUP', 'persist', 'zombie', 'COUNT', 10, 'STREAMS', b.keys.messages(0), '>')
    await until('all seen', () => seen.length === 3)
  },
)

t.test('groups that vanish are made again from the beginning, without a hot loop', async (t) => {
  const b = await bench(t, 1)
  const appender = appenderOf(b)
  const seen: Delivery[] = []
  const one = await consumer(t, b, collect(seen))
  one.own(0, 1)
  await appender.append(item())
  await until('first', () => seen.length === 1)
  await b.redis.del(b.keys.messages(0))
  await appender.append(item())
  await until('second', () => seen.length === 2)
  t.equal(seen[1]!.entry.seq, 2)
})

t.test('a reader that loses its connection reads its own pending entries again', async (t) => {
  const b = await bench(t, 1)
  const appender = appenderOf(b)
  const seen = new Set<number>()
  const one = await consumer(t, b, {
    async handle(batch) {
      for (const { entry } of batch) seen.add(entry.seq)
      return {}
    },
  })
  one.own(0, 1)
  for (let round = 0; round < 5; round++) {
    await Promise.all(Array.from({ length: 20 }, () => appender.append(item())))
    for (const line of String(await b.redis.client('LIST')).split('\n')) {
      if (line.includes('cmd=xreadgroup')) await b.redis.client('KILL', 'ID', /id=(\d+)/.exec(line)![1]!)
    }
  }
  await until('nothing is lost', () => seen.size === 100)
  await until('nothing is pending', async () => (await pendingOf(b, 0)) === 0)
})
