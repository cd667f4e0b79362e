import { AppError } from '@tidings/protocol'
import t, { type Test } from 'tap'
import {
  type AppendItem,
  type Consumer,
  createAppender,
  createJanitor,
  createLogReader,
  type Delivery,
  ensureGroups,
  type Group,
  type Handler,
  PoisonError,
  readLag,
  startConsumer,
  trimLog,
} from '../src/index.js'
import { type Bench, bench, log, until } from './stores.js'

let made = 5_000
const item = (over: Partial<AppendItem> = {}): AppendItem => ({
  id: String(made++),
  conversation: 'dm:alice:bob',
  from: 'alice',
  type: 'text',
  content: '{"text":"hello"}',
  clientId: '',
  sentAt: 1,
  trace: '',
  ...over,
})

async function consumer(
  t: Test,
  b: Bench,
  handler: Handler,
  over: { name?: string; group?: Group; window?: number } = {},
): Promise<Consumer> {
  const group = over.group ?? 'persist'
  await ensureGroups(
    b.redis,
    b.keys,
    group,
    Array.from({ length: b.keys.partitions }, (_, p) => p),
  )
  const started = startConsumer({
    group,
    consumer: over.name ?? 'one',
    keys: b.keys,
    redis: b.redis,
    handler,
    window: over.window ?? 1,
    gatherMs: 0,
    onDisowned: () => undefined,
    metrics: b.metrics,
    log,
  })
  t.teardown(() => started.stop())
  return started
}

const collect = (into: Delivery[]): Handler => ({
  async handle(batch) {
    into.push(...batch)
    return {}
  },
})

const pendingOf = async (b: Bench, p: number): Promise<number> =>
  Number(((await b.redis.xpending(b.keys.messages(p), 'persist')) as [number])[0])

t.test('entries come in order, are settled, and the mark follows', async (t) => {
  const b = await bench(t, 1)
  const seen: Delivery[] = []
  const one = await consumer(t, b, collect(seen))
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
  await appender.append(item())
  one.own(0, 7)
  const sent = await Promise.all(Array.from({ length: 500 }, () => appender.append(item())))
  await until('all seen', () => seen.length === 501)
  t.same(
    seen.map(({ entry }) => entry.seq),
    Array.from({ length: 501 }, (_, i) => i + 1),
  )
  t.equal(seen[0]!.fence, 7)
  await until('all settled', async () => (await pendingOf(b, 0)) === 0)
  const last = sent.at(-1)!.streamId
  const mark = (await b.redis.get(b.keys.mark(0, 'persist')))!
  t.equal(mark.split('-')[0], last.split('-')[0])
  t.equal(Number(mark.split('-')[1]), Number(last.split('-')[1]) + 1, 'just above the last one')
  t.match(await readLag(b.redis, b.keys, 'persist', [0]), [{ lag: 0, pending: 0, length: 501, dead: 0 }])
})

t.test('a partition that is taken or given away counts at once, though a read is blocked', async (t) => {
  const b = await bench(t, 4)
  const seen: Delivery[] = []
  const one = await consumer(t, b, collect(seen))
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
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

t.test('what a dead consumer left pending is taken over, oldest first', async (t) => {
  const b = await bench(t, 1)
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
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
    const appender = createAppender({
      redis: b.redis,
      keys: b.keys,
      replicas: 0,
      generations: b.generations,
      metrics: b.metrics,
    })
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

t.test('a fence that is too low settles nothing and ends the ownership', async (t) => {
  const b = await bench(t, 1)
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
  await b.redis.set(b.keys.fence(0, 'persist'), '9')
  const one = await consumer(t, b, collect([]))
  one.own(0, 8)
  await appender.append(item())
  await until('it stops', () => !one.owned.has(0))
  t.equal(await pendingOf(b, 0), 1, 'still pending, for the newer owner')
})

function fieldsOf(over: Record<string, string>): string[] {
  const all = {
    id: '77',
    conversation: 'dm:alice:bob',
    seq: '1',
    n: '1',
    from: 'alice',
    type: 'text',
    content: '{}',
    clientId: '',
    sentAt: '1',
    trace: '',
    ...over,
  }
  return Object.entries(all).flat()
}

t.test('entries written by hand: broken ones are set aside with a reason, and the next goes on', async (t) => {
  const b = await bench(t, 1)
  const broken: [string, string[], RegExp][] = [
    ['no fields of ours', ['hello', 'world'], /id is missing/],
    ['a missing field', ['id', '1', 'conversation', 'dm:alice:bob'], /seq is missing/],
    ['content that is not JSON', fieldsOf({ content: '{"a":' }), /not JSON/],
    ['content that is no object', fieldsOf({ content: '[1]' }), /not a JSON object/],
    ['an id that is not decimal', fieldsOf({ id: 'abc' }), /64-bit/],
    ['an id beyond 64 bits', fieldsOf({ id: '9999999999999999999' }), /64-bit/],
    ['a seq of words', fieldsOf({ seq: 'ten' }), /seq/],
    ['a seq of 0', fieldsOf({ seq: '0' }), /seq/],
    ['no conversation', fieldsOf({ conversation: 'dm:bob:alice' }), /conversation/],
    ['a sender from outside', fieldsOf({ from: 'mallory' }), /not in the conversation/],
    ['an unknown type', fieldsOf({ type: 'hologram' }), /type/],
    ['10 MiB', fieldsOf({ content: `{"a":"${'x'.repeat(10 << 20)}"}` }), /too large/],
    ['a clientId that would break the frame', fieldsOf({ clientId: '","op":"x' }), /clientId/],
  ]
  for (const [, fields] of broken) await b.redis.xadd(b.keys.messages(0), '*', ...fields)
  await b.redis.xadd(b.keys.messages(0), '*', ...fieldsOf({}))
  const seen: Delivery[] = []
  const buried: string[] = []
  const one = await consumer(t, b, {
    ...collect(seen),
    async bury(_owner, _fields, reason) {
      buried.push(reason)
    },
  })
  one.own(0, 1)
  await until('the good one arrives', () => seen.length === 1)
  await until('all letters', async () => (await b.redis.xlen(b.keys.dead(0, 'persist'))) === broken.length)
  const dead = await b.redis.xrange(b.keys.dead(0, 'persist'), '-', '+')
  t.equal(dead.length, broken.length)
  for (const [i, [name, fields, reason]] of broken.entries()) {
    const letter = dead[i]![1]
    t.same(letter.slice(0, fields.length), fields, `${name}: as it was found`)
    t.match(letter[letter.indexOf('reason') + 1], reason, name)
    t.ok(letter.includes('deliveries') && letter.includes('entry'))
  }
  t.equal(buried.length, broken.length)
  await until('nothing is pending', async () => (await pendingOf(b, 0)) === 0)
})

t.test('an entry for another partition is dead', async (t) => {
  const b = await bench(t, 4)
  const wrong = (b.keys.partitionOf('dm:alice:bob') + 1) % 4
  await b.redis.xadd(b.keys.messages(wrong), '*', ...fieldsOf({}))
  const one = await consumer(t, b, collect([]))
  one.own(wrong, 1)
  await until('a dead letter', async () => (await b.redis.xlen(b.keys.dead(wrong, 'persist'))) === 1)
})

t.test('a dependency that is away pauses, counts against no entry, and loses nothing', async (t) => {
  const b = await bench(t, 1)
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
  const seen: Delivery[] = []
  let calls = 0
  const one = await consumer(t, b, {
    async handle(batch) {
      calls++
      if (calls <= 4) throw new AppError('unavailable', 'away')
      seen.push(...batch)
      return {}
    },
  })
  one.own(0, 1)
  for (let i = 0; i < 3; i++) await appender.append(item())
  await until('all arrive', () => seen.length === 3)
  t.equal(await b.redis.xlen(b.keys.dead(0, 'persist')), 0)
})

t.test('one bad entry harms no other: it alone is tried five times and set aside', async (t) => {
  const b = await bench(t, 1)
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
  for (let i = 0; i < 5; i++) await appender.append(item())
  await ensureGroups(b.redis, b.keys, 'persist', [0])
  const done: number[] = []
  let tries = 0
  const one = await consumer(t, b, {
    async handle(batch) {
      if (batch.some(({ entry }) => entry.seq === 3)) {
        if (batch.length === 1) tries++
        throw new Error('cannot digest 3')
      }
      if (batch.some(({ entry }) => entry.seq === 4)) throw new PoisonError('4 is poison')
      done.push(...batch.map(({ entry }) => entry.seq))
      return {}
    },
  })
  one.own(0, 1)
  await until('two letters', async () => (await b.redis.xlen(b.keys.dead(0, 'persist'))) === 2)
  t.same(done, [1, 2, 5])
  t.equal(tries, 5)
  const letters = await b.redis.xrange(b.keys.dead(0, 'persist'), '-', '+')
  t.match(
    letters.map(([, fields]) => fields.slice(-5, -1)),
    [
      ['cannot digest 3', 'deliveries', '5', 'entry'],
      ['4 is poison', 'deliveries', '1', 'entry'],
    ],
  )
})

t.test('groups that vanish are made again from the beginning, without a hot loop', async (t) => {
  const b = await bench(t, 1)
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
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
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
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

t.test('idle logs expire only when all of it is stored, and an append takes that back', async (t) => {
  const b = await bench(t, 1)
  const appender = createAppender({
    redis: b.redis,
    keys: b.keys,
    replicas: 0,
    generations: b.generations,
    metrics: b.metrics,
  })
  await appender.append(item())
  const janitor = createJanitor(b.redis, b.keys)
  await b.redis.zadd(b.keys.recent(0), Date.now() - 2 * 3_600_000, 'dm:alice:bob')
  await janitor.tidy(0)
  t.equal(await b.redis.ttl(b.keys.log('dm:alice:bob')), -1, 'nothing is stored yet')
  await b.redis.set(b.keys.mark(0, 'persist'), `${Date.now() + 1}-0`)
  await janitor.tidy(0)
  t.ok((await b.redis.ttl(b.keys.log('dm:alice:bob'))) > 0)
  t.equal(await b.redis.zscore(b.keys.recent(0), 'dm:alice:bob'), null)
  await appender.append(item())
  t.equal(await b.redis.ttl(b.keys.log('dm:alice:bob')), -1, 'in use again')
})

t.test(
  'trimming never cuts what is not stored: the stream stays above the mark, the log above the stored seq and the newest thousand',
  async (t) => {
    const b = await bench(t, 1)
    const appender = createAppender({
      redis: b.redis,
      keys: b.keys,
      replicas: 0,
      generations: b.generations,
      metrics: b.metrics,
    })
    const sent = await Promise.all(Array.from({ length: 3_000 }, () => appender.append(item())))
    const janitor = createJanitor(b.redis, b.keys, 0)
    await janitor.tidy(0)
    t.equal(await b.redis.xlen(b.keys.messages(0)), 3_000, 'no mark, no cut')
    const mark = sent[1_500]!.streamId
    await b.redis.set(b.keys.mark(0, 'persist'), mark)
    await janitor.tidy(0)
    t.equal(await b.redis.xlen(b.keys.messages(0)), 3_000, 'a mark that was just reached is only remembered')
    await janitor.tidy(0)
    const left = await b.redis.xrange(b.keys.messages(0), '-', '+')
    t.ok(left.length < 3_000 && left.length >= 1_500)
    t.ok(
      left.some(([id]) => id === mark),
      'the first one that is not stored is there',
    )

    await trimLog(b.redis, b.keys, 'dm:alice:bob', 500)
    const reader = createLogReader(b.redis, b.keys)
    t.equal((await reader.after('dm:alice:bob', 500, 10_000)).length, 2_500, 'nothing above the stored seq is cut')
    await trimLog(b.redis, b.keys, 'dm:alice:bob', 3_000)
    t.equal((await reader.after('dm:alice:bob', 2_000, 10_000)).length, 1_000, 'the newest thousand stay')
    t.ok((await b.redis.xlen(b.keys.log('dm:alice:bob'))) < 1_200)
  },
)
