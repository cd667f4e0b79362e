import { AppError } from '@tidings/protocol'
import { createMetrics, redisFaults } from '@tidings/service'
import t, { type Test } from 'tap'
import { ensureGroups, type Level, nextLevel, type Pressure, readBacklog, settle, watchPressure } from '../src/index.js'
import { type Bench, bench, log } from './stores.js'

const THRESHOLDS = [
  { from: 0.75, until: 0.7 },
  { from: 0.85, until: 0.8 },
] as const

t.test('a level begins at its threshold and ends below another one, so that it does not flap', async (t) => {
  const seen: Level[] = []
  let level: Level = 0
  for (const fill of [
    0.7, 0.74, 0.75, 0.72, 0.84, 0.7, 0.69, 0.74, 0.85, 0.81, 0.8, 0.79, 0.76, 0.71, 0.5, 0.99, 0.1,
  ]) {
    level = nextLevel(level, fill, THRESHOLDS)
    seen.push(level)
  }
  t.same(seen, [0, 0, 1, 1, 1, 1, 0, 0, 2, 2, 2, 1, 1, 1, 0, 2, 0])
})

async function watch(t: Test, b: Bench, over: { maxBacklog?: number; memoryBytes?: number }): Promise<Pressure> {
  const pressure = await watchPressure({
    redis: b.redis,
    keys: b.keys,
    maxBacklog: 1_000_000,
    memoryBytes: 0,
    metrics: createMetrics('test', 'test'),
    log,
    ...over,
  })
  t.teardown(() => pressure.stop())
  return pressure
}

const add = async (b: Bench, count: number, partition = 0): Promise<void> => {
  const pipeline = b.redis.pipeline()
  for (let i = 0; i < count; i++) pipeline.xadd(b.keys.messages(partition), '*', 'a', 'b')
  await pipeline.exec()
}

/** Reads and settles so many, as persist does. */
async function store(b: Bench, count: number, partition = 0): Promise<void> {
  const stream = b.keys.messages(partition)
  const reply = await b.redis.xreadgroup('GROUP', 'persist', 'one', 'COUNT', count, 'STREAMS', stream, '>')
  const done = (reply as [string, [string, string[]][]][])[0]![1].map(([id]) => id)
  await settle(b.redis, b.keys, 'persist', [{ partition, fence: 1, done, dead: [] }])
}

const retryAfterOf = (pressure: Pressure, bulk: boolean): number => {
  try {
    pressure.admit(bulk)
  } catch (error) {
    if (error instanceof AppError && error.code === 'overloaded') return error.retryAfter!
    throw error
  }
  return 0
}

t.test('a long backlog refuses batches first, then every send, and opens again when it is stored', async (t) => {
  const b = await bench(t, 2)
  await ensureGroups(b.redis, b.keys, 'persist', [0])
  const pressure = await watch(t, b, { maxBacklog: 10 })
  const refused = async (): Promise<[boolean, boolean]> => {
    await pressure.look()
    return [retryAfterOf(pressure, true) > 0, retryAfterOf(pressure, false) > 0]
  }
  await add(b, 4)
  t.same(await refused(), [false, false])
  await add(b, 1, 1)
  t.same(await refused(), [true, false], 'half of it, over two partitions, one of them without a group yet')
  await add(b, 5)
  t.same(await refused(), [true, true])
  const seconds = Array.from({ length: 200 }, () => retryAfterOf(pressure, false))
  t.same([Math.min(...seconds), Math.max(...seconds)], [1, 5], 'jittered, so that not all come back at once')
  await store(b, 1)
  t.same(await refused(), [true, true], 'nine tenths: not yet')
  await store(b, 1)
  t.same(await refused(), [true, false])
  await store(b, 5)
  t.same(await refused(), [false, false])
})

t.test(
  'the backlog counts what is there and not stored, also after a trim and after entries were deleted',
  async (t) => {
    const b = await bench(t, 1)
    const stream = b.keys.messages(0)
    t.equal(await readBacklog(b.redis, b.keys), 0, 'no stream')
    await add(b, 10)
    t.equal(await readBacklog(b.redis, b.keys), 10, 'no group')
    await ensureGroups(b.redis, b.keys, 'persist', [0])
    await b.redis.xtrim(stream, 'MAXLEN', 4)
    t.equal(await readBacklog(b.redis, b.keys), 4, 'cut by hand before anyone read it')
    await store(b, 4)
    t.equal(await readBacklog(b.redis, b.keys), 0)
    await add(b, 10)
    await store(b, 3)
    const mark = (await b.redis.get(b.keys.mark(0, 'persist')))!
    await b.redis.xtrim(stream, 'MINID', mark)
    t.equal(await readBacklog(b.redis, b.keys), 7, 'trimmed as the janitor does')
    await b.redis.xreadgroup('GROUP', 'persist', 'one', 'COUNT', 2, 'STREAMS', stream, '>')
    t.equal(await readBacklog(b.redis, b.keys), 7, 'read is not stored')
    const [[last]] = (await b.redis.xrevrange(stream, '+', '-', 'COUNT', 1)) as [[string, string[]]]
    await b.redis.xdel(stream, last)
    t.ok((await readBacklog(b.redis, b.keys)) >= 6, 'where Redis cannot tell, never too few')
  },
)

t.test('memory refuses by its own thresholds and with a longer wait', async (t) => {
  const b = await bench(t, 1)
  const used = Number(/used_memory:(\d+)/.exec(await b.redis.info('memory'))![1])
  const free = await watch(t, b, { memoryBytes: used * 2 })
  t.equal(retryAfterOf(free, true), 0)
  const tight = await watch(t, b, { memoryBytes: Math.round(used / 0.79) })
  t.ok(retryAfterOf(tight, true) > 0)
  t.equal(retryAfterOf(tight, false), 0)
  const full = await watch(t, b, { memoryBytes: used })
  const seconds = Array.from({ length: 400 }, () => retryAfterOf(full, false))
  t.same([Math.min(...seconds), Math.max(...seconds)], [5, 15])
})

t.test('while Redis is away the last answer stands, and looking goes on by itself', async (t) => {
  const b = await bench(t, 1)
  const redis = await b.connect()
  const pressure = await watch(t, { ...b, redis }, { maxBacklog: 2 })
  redis.disconnect()
  await t.rejects(pressure.look())
  t.equal(retryAfterOf(pressure, false), 0)
})

t.test('a Redis that would lose entries is refused with one sentence', async (t) => {
  const info = (over: Record<string, string>) =>
    new Map(Object.entries({ redis_version: '7.0.15', role: 'master', maxmemory_policy: 'noeviction', ...over }))
  t.same(redisFaults(info({})), [])
  t.match(redisFaults(info({ redis_version: '6.2.14' })), [/6\.2\.14.*7\.0 or newer/])
  t.match(redisFaults(info({ role: 'slave' })), [/replica/])
  t.match(redisFaults(info({ maxmemory_policy: 'allkeys-lru' })), [/allkeys-lru.*CONFIG SET/])
})
