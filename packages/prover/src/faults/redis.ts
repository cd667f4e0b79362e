/** Rows 15 to 27: Redis hangs, dies, forgets, is full, or is harmed by hand. */
import { within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

async function serverField(c: FaultContext, name: string): Promise<string> {
  const info = await c.cluster.redis.info()
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
}

const isBack = (c: FaultContext): Promise<boolean> =>
  within(async () => {
    try {
      return (await c.cluster.redis.ping()) === 'PONG'
    } catch {
      // Not yet.
      return false
    }
  }, 20_000)

async function frozen(c: FaultContext, ms: number): Promise<void> {
  const { redis } = c.cluster.stores
  redis.freeze()
  const answered = await c.cluster.redis.ping().then(
    () => true,
    () => false,
  )
  if (!answered) c.bit(`redis (pid ${redis.pid}) answers nothing`)
  await c.hold(ms)
  redis.thaw()
  await isBack(c)
}

async function partitionsWith(c: FaultContext): Promise<string[]> {
  const { keys, partitions, redis } = c.cluster
  const streams = Array.from({ length: partitions }, (_, p) => keys.messages(p))
  const there = await Promise.all(streams.map((stream) => redis.exists(stream)))
  return streams.filter((_, i) => there[i] === 1)
}

export const redisFaults: Fault[] = [
  { row: '15', name: 'Redis paused for 5 s', boundMs: 5_000, available: false, run: (c) => frozen(c, 5_000) },
  { row: '15b', name: 'Redis paused for 15 s', boundMs: 5_000, available: false, run: (c) => frozen(c, 15_000) },
  {
    row: '16',
    name: 'redis-server killed and started again',
    boundMs: 5_000,
    available: false,
    // Whether it had time to write down everything is not known to whoever starts after it.
    voids: true,
    async run(c) {
      const before = await serverField(c, 'run_id')
      await c.cluster.stores.redis.kill()
      await c.hold(2_000)
      await c.cluster.stores.redis.restart()
      await isBack(c)
      c.healed()
      const after = await serverField(c, 'run_id')
      if (before !== after) c.bit(`run_id was ${before.slice(0, 8)} and is ${after.slice(0, 8)}`)
    },
  },
  {
    row: '17',
    name: 'all connections to Redis killed, again and again',
    boundMs: 5_000,
    available: true,
    async run(c) {
      let killed = 0
      for (let i = 0; i < 10; i++) {
        killed += Number(await c.cluster.redis.call('CLIENT', 'KILL', 'TYPE', 'normal'))
        await c.hold(500)
      }
      if (killed > 0) c.bit(`${killed} connections killed`)
    },
  },
  {
    row: '22',
    name: 'FLUSHALL',
    boundMs: 10_000,
    available: false,
    voids: true,
    tailLost: true,
    async run(c) {
      const before = await c.cluster.redis.dbsize()
      await c.cluster.redis.flushall()
      const after = await c.cluster.redis.dbsize()
      if (after < before) c.bit(`${before} keys were there, and then ${after}`)
      await c.hold(3_000)
    },
  },
  {
    row: '22b',
    name: 'the streams deleted',
    boundMs: 10_000,
    available: true,
    voids: true,
    tailLost: true,
    async run(c) {
      const gone = await c.cluster.redis.del(await partitionsWith(c))
      if (gone > 0) c.bit(`${gone} streams deleted`)
      await c.hold(3_000)
    },
  },
  {
    row: '23',
    name: 'Redis full',
    boundMs: 10_000,
    available: false,
    async run(c) {
      const { redis } = c.cluster
      await redis.config('SET', 'maxmemory', '1mb')
      const refused = await redis.set(`${c.cluster.namespace}:prover`, 'x').then(
        () => '',
        (error: Error) => error.message,
      )
      if (/OOM/.test(refused)) c.bit(refused)
      await c.hold(4_000)
      await redis.config('SET', 'maxmemory', '0')
    },
  },
  {
    row: '25',
    name: 'scripts forgotten, again and again',
    boundMs: 5_000,
    available: true,
    async run(c) {
      for (let i = 0; i < 20; i++) {
        await c.cluster.redis.script('FLUSH')
        await c.hold(100)
      }
      c.bit(`SCRIPT FLUSH 20 times; ${await serverField(c, 'number_of_cached_scripts')} scripts are known now`)
    },
  },
  {
    row: '26',
    name: 'an operator destroys the groups',
    boundMs: 30_000,
    available: true,
    async run(c) {
      let destroyed = 0
      for (const stream of await partitionsWith(c))
        for (const group of ['push', 'persist'])
          destroyed += Number(await c.cluster.redis.xgroup('DESTROY', stream, group))
      if (destroyed > 0) c.bit(`${destroyed} groups destroyed`)
      await c.hold(1_000)
    },
  },
  {
    row: '26b',
    name: 'an operator deletes the consumers of push',
    boundMs: 35_000,
    available: true,
    async run(c) {
      const { redis } = c.cluster
      let deleted = 0
      for (const stream of await partitionsWith(c)) {
        const consumers = (await redis.xinfo('CONSUMERS', stream, 'push')) as unknown[][]
        for (const row of consumers) {
          await redis.xgroup('DELCONSUMER', stream, 'push', String(row[1]))
          deleted++
        }
      }
      if (deleted > 0) c.bit(`${deleted} consumers deleted`)
      await c.hold(1_000)
    },
  },
]
