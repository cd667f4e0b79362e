/** The streams on a real cluster of three shards: slots move and shards die under it. */
import { type RedisCluster, startRedisCluster } from '@tidings/infra'
import type { Entry } from '@tidings/protocol'
import type { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import {
  type Appended,
  type Appender,
  type AppendItem,
  type Consumer,
  createLogReader,
  type Delivery,
  readLag,
} from '../src/index.js'
import { connectRedis } from '../src/redis.js'
import { appenderOf, collect, consumer, item } from './parts.js'
import { type Bench, bench, log, until } from './stores.js'

const PARTITIONS = 8
/** A script that takes five milliseconds. */
const BUSY = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local began = now()
while now() - began < 5000 do end`
let made = 0
/** Each with a clientId, to be sent again. */
const keyed = (over: Partial<AppendItem> = {}): AppendItem => item({ clientId: `c-${++made}`, ...over })
const conversations = Array.from({ length: 24 }, (_, i) => `dm:alice:user${String(i).padStart(2, '0')}`)
const everyPartition = Array.from({ length: PARTITIONS }, (_, p) => p)

/** Appends as a good sender does: the same clientId again until it is answered. */
async function appendUntilDone(appender: Appender, one: AppendItem): Promise<Appended> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await appender.append(one)
    } catch (error) {
      if (attempt > 400) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** As its claims in etcd do it: what was in hand when a generation was lost is read again under a higher fence. */
const ownsAgain = (self: Consumer, partition: number, by: number): void => self.own(partition, by + 1)

/** A consumer that owns nothing yet, and everything that it sees. */
async function consume(t: Test, b: Bench): Promise<{ seen: Delivery[]; one: Consumer }> {
  const seen: Delivery[] = []
  return { seen, one: await consumer(t, b, collect(seen), { onDisowned: ownsAgain }) }
}

/** Everything that a consumer of all partitions sees. */
async function consumeAll(t: Test, b: Bench): Promise<Delivery[]> {
  const { seen, one } = await consume(t, b)
  for (const p of everyPartition) one.own(p, 1)
  return seen
}

/** What was seen of a conversation, each entry where it came first. Voids are no entries. */
function seenOf(seen: readonly Delivery[], conversation: string): Entry[] {
  const byId = new Map<string, Entry>()
  for (const { entry } of seen) {
    if (entry.conversation === conversation && entry.type !== 'void' && !byId.has(entry.id)) byId.set(entry.id, entry)
  }
  return [...byId.values()]
}
const seqsOf = (seen: readonly Delivery[], conversation: string): number[] =>
  seenOf(seen, conversation).map(({ seq }) => seq)
const rising = (seqs: readonly number[]): boolean => seqs.every((seq, i) => i === 0 || seq > seqs[i - 1]!)

/** Whatever was answered with a seq was answered in the order of sending, lies in the log at that seq, and was seen once, in order. */
async function unharmed(t: Test, b: Bench, seen: readonly Delivery[], conversation: string, sent: readonly Appended[]) {
  t.ok(sent.length > 1, `the sender to ${conversation} got on: ${sent.length}`)
  t.ok(rising(sent.map(({ seq }) => seq)), 'in the order in which they were sent, none twice')
  const log = await createLogReader(b.redis, b.keys).after(conversation, 0, 10_000)
  const inLog = new Map(log.filter(({ type }) => type !== 'void').map(({ seq, id }) => [seq, id]))
  t.same(
    sent.filter(({ seq, id }) => inLog.get(seq) !== id),
    [],
    'each is where it was said to be',
  )
  await until(`all of ${conversation} seen`, () => seenOf(seen, conversation).length >= inLog.size)
  t.ok(rising(seqsOf(seen, conversation)), 'seen in order')
  const ids = new Set(seenOf(seen, conversation).map(({ id }) => id))
  t.same(
    sent.filter(({ id }) => !ids.has(id)),
    [],
    'and all seen',
  )
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)
const settled = async (b: Bench): Promise<boolean> =>
  (await readLag(b.redis, b.keys, 'persist', everyPartition)).every(({ lag, pending }) => lag === 0 && pending === 0)

/** Sends to one conversation, one after another, until told to stop. */
function sender(appender: Appender, conversation: string): { stop(): Promise<Appended[]> } {
  let stopped = false
  const sent: Appended[] = []
  const running = (async () => {
    while (!stopped) {
      sent.push(await appendUntilDone(appender, keyed({ conversation })))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  })()
  return {
    async stop() {
      stopped = true
      await running
      return sent
    },
  }
}

t.test('partitions over three shards', async (t) => {
  const cluster: RedisCluster = await startRedisCluster({ replicas: true })
  t.teardown(() => cluster.stop())
  const shardOf = (b: Bench, partition: number): Promise<number> => cluster.shardOf(b.keys.messages(partition))

  await t.test('what is appended is read in order and settled, in whichever shard it lies', async (t) => {
    const b = await bench(t, PARTITIONS, cluster.url)
    const shards = await Promise.all(everyPartition.map((p) => shardOf(b, p)))
    t.equal(new Set(shards).size, 3, 'the partitions are spread')
    const seen = await consumeAll(t, b)
    const appender = appenderOf(b)
    for (let round = 0; round < 5; round++) {
      await Promise.all(conversations.map((conversation) => appender.append(keyed({ conversation }))))
    }
    await until('all seen', () => seen.length === 5 * conversations.length)
    for (const conversation of conversations) t.same(seqsOf(seen, conversation), upTo(5))
    await until('all settled', () => settled(b))
    const reader = createLogReader(b.redis, b.keys)
    t.same(
      await reader.heads(conversations),
      conversations.map(() => 5),
      'heads over all shards in one call',
    )
    t.same(
      (await reader.newest(conversations)).map((entry) => entry?.seq),
      conversations.map(() => 5),
    )
  })

  await t.test('scripts that a shard has forgotten are sent again to that shard', async (t) => {
    const b = await bench(t, PARTITIONS, cluster.url)
    const appender = appenderOf(b)
    await Promise.all(conversations.map((conversation) => appender.append(keyed({ conversation }))))
    for (const { url } of cluster.shards) {
      const node = await bench(t, 1, url)
      await node.redis.script('FLUSH')
    }
    const again = await Promise.all(conversations.map((conversation) => appender.append(keyed({ conversation }))))
    t.same(
      again.map(({ seq }) => seq),
      conversations.map(() => 2),
    )
  })

  await t.test('a partition that is given away and taken back counts at once', async (t) => {
    const b = await bench(t, PARTITIONS, cluster.url)
    const { seen, one } = await consume(t, b)
    const appender = appenderOf(b)
    const p = b.keys.partitionOf('dm:alice:bob')
    one.own(p, 1)
    await appender.append(keyed())
    await until('the first', () => seen.length === 1)
    await one.release(p)
    await appender.append(keyed())
    t.equal(seen.length, 1)
    const began = performance.now()
    one.own(p, 2)
    await until('the second', () => seen.length === 2)
    t.ok(performance.now() - began < 2_000)
  })

  /** Calls of XREADGROUP that the shards have answered. */
  async function readCalls(): Promise<number> {
    let calls = 0
    for (const { url } of cluster.shards) {
      const node = await connectRedis(url, log)
      calls += Number(/cmdstat_xreadgroup:calls=(\d+)/.exec(await node.info('commandstats'))?.[1] ?? 0)
      node.disconnect()
    }
    return calls
  }

  /** Keeps a shard busy for some milliseconds at a time, so that it answers behind the others. */
  async function busyShard(url: string): Promise<{ stop(): Promise<void> }> {
    const node = await connectRedis(url, log)
    let stopped = false
    const running = (async () => {
      while (!stopped) await node.eval(BUSY, 0)
    })()
    return {
      async stop() {
        stopped = true
        await running
        node.disconnect()
      },
    }
  }

  await t.test('while much comes, partitions of all shards are read in rounds and handled together', async (t) => {
    const b = await bench(t, PARTITIONS, cluster.url)
    const shards = await Promise.all(everyPartition.map((p) => shardOf(b, p)))
    const seen: Delivery[] = []
    /** How many shards had a part in each batch, of those with many entries. */
    const spread: number[] = []
    const one = await consumer(
      t,
      b,
      {
        async handle(batch) {
          seen.push(...batch)
          if (batch.length > 50) spread.push(new Set(batch.map(({ partition }) => shards[partition])).size)
          return {}
        },
      },
      { roundMs: 100, onDisowned: ownsAgain },
    )
    for (const p of everyPartition) one.own(p, 1)
    const before = await readCalls()
    const busy = await busyShard(cluster.shards[1]!.url)
    const senders = conversations.map((conversation) => sender(appenderOf(b), conversation))
    await until(
      'several rounds',
      () => spread.length > 5 && conversations.every((each) => seqsOf(seen, each).length > 20),
    )
    const sent = await Promise.all(senders.map((each) => each.stop()))
    await busy.stop()
    const calls = (await readCalls()) - before
    for (const [i, conversation] of conversations.entries()) await unharmed(t, b, seen, conversation, sent[i]!)
    t.ok(2 * calls < sent.flat().length, `${calls} reads of ${sent.flat().length} entries`)
    const whole = spread.filter((of) => of === 3).length
    t.ok(2 * whole > spread.length, `${whole} of ${spread.length} batches are of all shards`)
    await until('all settled', () => settled(b))
  })

  await t.test('a shard that does not answer holds up the rounds of no other', async (t) => {
    const b = await bench(t, PARTITIONS, cluster.url)
    const places = await Promise.all(conversations.map((each) => shardOf(b, b.keys.partitionOf(each))))
    const seen: Delivery[] = []
    const one = await consumer(t, b, collect(seen), { roundMs: 10, onDisowned: ownsAgain })
    for (const p of everyPartition) one.own(p, 1)
    const senders = conversations.map((conversation) => sender(appenderOf(b), conversation))
    const living = conversations.filter((_, i) => places[i] !== 0)
    const least = (): number => Math.min(...living.map((each) => seqsOf(seen, each).length))
    await until('under way', () => conversations.every((each) => seqsOf(seen, each).length > 5))
    const node = await connectRedis(cluster.shards[0]!.url, log)
    await node.client('PAUSE', 800, 'ALL')
    let back = false
    const answered = node.ping().then(() => {
      back = true
    })
    const before = least()
    await until('the others are read', () => least() > before + 10)
    t.notOk(back, 'while it is away')
    await answered
    node.disconnect()
    const sent = await Promise.all(senders.map((each) => each.stop()))
    for (const [i, conversation] of conversations.entries()) await unharmed(t, b, seen, conversation, sent[i]!)
    await until('all settled', () => settled(b))
  })

  await t.test('a partition whose read waits for its round is given away at once', async (t) => {
    const b = await bench(t, PARTITIONS, cluster.url)
    const appender = appenderOf(b)
    const seen: Delivery[] = []
    const slow = await consumer(t, b, collect(seen), { roundMs: 600_000 })
    for (const p of everyPartition) slow.own(p, 1)
    const everywhere = (): Promise<Appended[]> =>
      Promise.all(conversations.map((conversation) => appender.append(keyed({ conversation }))))
    await everywhere()
    await until('the first', () => seen.length === conversations.length)
    await everywhere()
    t.equal(seen.length, conversations.length, 'the others wait')
    const others: Delivery[] = []
    const two = await consumer(t, b, collect(others), { name: 'two' })
    for (const p of everyPartition) {
      await slow.release(p)
      two.own(p, 2)
    }
    await until('the next owner has them', () => others.length === conversations.length)
    await slow.stop()
    t.equal(seen.length, conversations.length)
    await until('all settled', () => settled(b))
  })

  await t.test('what waits while its slot is said to lie elsewhere is appended once, in order', async (t) => {
    const b = await bench(t, PARTITIONS, cluster.url)
    const appender = appenderOf(b)
    const { slots } = b.redis as Cluster
    const slot = await cluster.slotOf(b.keys.messages(b.keys.partitionOf('dm:alice:bob')))
    const right = slots[slot]!
    const wrong = Object.values(slots).find(([address]) => address !== right[0])!
    const sent: { conversation: string; answer: Promise<Appended> }[] = []
    const send = (conversation: string): void => {
      sent.push({ conversation, answer: appender.append(keyed({ conversation })) })
    }
    const answered = (): Promise<Appended[]> => Promise.all(sent.map(({ answer }) => answer))
    const turnOver = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    for (let round = 0; round < 30; round++) {
      // One call is under way to each shard, and what comes now waits for it.
      for (const conversation of conversations) send(conversation)
      await turnOver()
      await turnOver()
      for (const home of [right, wrong, right]) {
        slots[slot] = home
        send('dm:alice:bob')
        if (round % 2 === 1) await turnOver()
      }
      if (round % 3 === 2) await answered()
    }
    const answers = await answered()
    for (const conversation of ['dm:alice:bob', ...conversations]) {
      const seqs = answers.filter((_, i) => sent[i]!.conversation === conversation).map(({ seq }) => seq)
      t.same(seqs, upTo(seqs.length), conversation)
    }
    t.equal(appender.waiting, 0)
  })

  await t.test(
    'a slot moves under load: nothing lost, doubled or misordered, and midway sends wait or say no',
    async (t) => {
      const b = await bench(t, PARTITIONS, cluster.url)
      const seen = await consumeAll(t, b)
      const appender = appenderOf(b)
      const p = b.keys.partitionOf('dm:alice:bob')
      const from = await shardOf(b, p)
      // Keys enough to move in several steps.
      await Promise.all(upTo(100).map(() => appender.append(keyed())))
      const others = conversations.filter((each) => b.keys.partitionOf(each) !== p).slice(0, 3)
      const senders = ['dm:alice:bob', ...others].map((conversation) => sender(appender, conversation))
      await until('under way', () => ['dm:alice:bob', ...others].every((each) => seqsOf(seen, each).length > 5))
      const places = await Promise.all(everyPartition.map((each) => shardOf(b, each)))
      const neighbour = conversations.find((each) => {
        const other = b.keys.partitionOf(each)
        return other !== p && places[other] === from
      })!
      let refused: unknown
      const to = (from + 1) % 3
      await cluster.moveSlot(await cluster.slotOf(b.keys.messages(p)), to, async () => {
        let over = false
        const moving = appender.append(keyed()).catch((error: unknown) => error)
        void moving.then(() => {
          over = true
        })
        await appender.append(keyed({ conversation: neighbour }))
        t.notOk(over, 'what lies on the same shard does not wait for it')
        refused = await moving
      })
      t.match(refused, { code: 'unavailable', retryAfter: 1 }, 'surely not accepted, and said so in time')
      t.equal(await shardOf(b, p), to)
      await appendUntilDone(appender, keyed())
      const sent = await Promise.all(senders.map((one) => one.stop()))
      for (const [i, conversation] of ['dm:alice:bob', ...others].entries()) {
        await unharmed(t, b, seen, conversation, sent[i]!)
      }
      await until('all settled', () => settled(b))
    },
  )

  await t.test(
    'a shard dies: the others go on, its replica takes over, and each clientId is accepted once',
    async (t) => {
      const b = await bench(t, PARTITIONS, cluster.url)
      const seen = await consumeAll(t, b)
      const appender = appenderOf(b, 1)
      const dying = conversations[0]!
      const shard = await shardOf(b, b.keys.partitionOf(dying))
      const places = await Promise.all(conversations.map((each) => shardOf(b, b.keys.partitionOf(each))))
      const living = conversations[places.findIndex((place) => place !== shard)]!
      const senders = [dying, living].map((conversation) => sender(appender, conversation))
      await until('under way', () => [dying, living].every((each) => seqsOf(seen, each).length > 5))
      await cluster.shards[shard]!.kill()
      const before = seqsOf(seen, living).length
      await until('the others go on meanwhile', () => seqsOf(seen, living).length > before + 5)
      await cluster.promoted(shard)
      // What died comes back as a replica; until then nobody else has a copy, and nothing is accepted.
      await cluster.shards[shard]!.restart()
      await appendUntilDone(appender, keyed({ conversation: dying }))
      const sent = await Promise.all(senders.map((one) => one.stop()))
      await unharmed(t, b, seen, dying, sent[0]!)
      await unharmed(t, b, seen, living, sent[1]!)
      await until('all settled', () => settled(b))
    },
  )
})
