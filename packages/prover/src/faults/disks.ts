/** Rows 24 and 33: the disk of Redis, or of MySQL, is full. */
import type { Redis } from '../cluster/redis.js'
import { makeMessage } from '../load/message.js'
import { within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

/** Larger than what a table file is grown by at a time. */
const LARGE = 14_000

/** What Redis says to a write, '' when it takes it. */
const refusalOf = (redis: Redis, key: string): Promise<string> =>
  redis.set(key, 'x').then(
    () => '',
    (error: Error) => error.message,
  )

async function isAnswering(c: FaultContext): Promise<boolean> {
  try {
    return (await c.cluster.redis.ping()) === 'PONG'
  } catch {
    // Not yet.
    return false
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    // There is no such process.
    return false
  }
}

/** Messages that make the table's file grow, and one of ours that shows what the server says to it. */
async function growTable(c: FaultContext): Promise<string> {
  const { conv, users, canary } = c.crowd.conversations[0]!
  for (let i = 0; i < 4; i++) {
    const mark = `large-${c.chance.between(0, 1e9)}-${i}`
    const messages = Array.from({ length: 50 }, (_, k) =>
      makeMessage(conv, users[0], users[1], `${mark}-${k}`, canary, LARGE),
    )
    await c.crowd.deliver(messages)
  }
  let said = ''
  await within(async () => {
    said = await c.cluster.sql('INSERT INTO prover_full (filling) VALUES (REPEAT("x", 60000))').then(
      () => '',
      (error: Error) => error.message,
    )
    return said !== ''
  }, 15_000)
  return said
}

export const diskFaults: Fault[] = [
  {
    row: '24',
    name: 'the disk of Redis is full, its log written every second',
    boundMs: 10_000,
    available: false,
    needs: ['disk for redis'],
    async run(c) {
      const { redis, namespace, disks } = c.cluster
      await redis.config('SET', 'appendfsync', 'everysec')
      const bytes = await disks.redis!.fill()
      let said = ''
      await within(async () => {
        said = await refusalOf(redis, `${namespace}:prover`)
        return said.startsWith('MISCONF')
      }, 10_000)
      if (said.startsWith('MISCONF')) c.bit(`full at ${bytes} bytes: ${said}`)
      await c.hold(5_000)
      disks.redis!.free()
      c.healed()
      await c.recovered()
      await redis.config('SET', 'appendfsync', 'no')
    },
  },
  {
    row: '24b',
    name: 'the disk of Redis is full, its log written at each write: it ends',
    boundMs: 10_000,
    available: false,
    needs: ['disk for redis'],
    // It is started again, and nobody can tell whether it has all.
    voids: true,
    async run(c) {
      const { redis, disks, stores } = c.cluster
      const { pid } = stores.redis
      await redis.config('SET', 'appendfsync', 'always')
      const bytes = await disks.redis!.fill()
      const ended = await within(() => !isAlive(pid), 15_000)
      if (ended) c.bit(`full at ${bytes} bytes: redis (pid ${pid}) has ended by itself`)
      await c.hold(2_000)
      disks.redis!.free()
      if (ended) await stores.redis.restart()
      else await redis.config('SET', 'appendfsync', 'no')
      await within(() => isAnswering(c), 20_000)
      c.healed()
    },
  },
  {
    row: '33',
    name: 'the disk of MySQL is full',
    boundMs: 60_000,
    available: true,
    needs: ['disk for mysql'],
    async run(c) {
      const { sql, disks, stores } = c.cluster
      const { pid } = stores.mysql
      await sql('CREATE TABLE IF NOT EXISTS prover_full (id INT AUTO_INCREMENT PRIMARY KEY, filling LONGTEXT)')
      const bytes = await disks.mysql!.fill()
      try {
        const said = await growTable(c)
        const ended = await within(() => !isAlive(pid), 1_000)
        const how = ended ? `mariadbd (pid ${pid}) has ended by itself` : said
        if (said !== '') c.bit(`full at ${bytes} bytes: ${how}`)
        await c.hold(6_000)
      } finally {
        disks.mysql!.free()
        // InnoDB ends the server when there is no room to take a transaction back: then it is started again, as by a supervisor.
        if (!isAlive(pid)) await stores.mysql.restart()
      }
      c.healed()
      await c.recovered()
      await sql('DROP TABLE prover_full')
    },
  },
]
