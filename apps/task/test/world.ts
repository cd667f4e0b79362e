/** Persist without its worker: a database and a key space of one's own, and entries that come in whatever order a test wants. */

import { randomBytes } from 'node:crypto'
import { migrate } from '@tidings/migrations'
import type { Entry } from '@tidings/protocol'
import { createLogger, createMetrics, noTracing } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectStore, type Store } from '@tidings/store'
import { connectRedis, createKeys, type Delivery, type Keys, type Redis } from '@tidings/stream'
import type { Test } from 'tap'
import { createPersister, type Persister } from '../src/persist.js'

export const log = createLogger({ app: 'task', instance: 'test', level: 'silent' })

export interface World {
  redis: Redis
  keys: Keys
  store: Store
  persister: Persister
  /** How often MySQL was used, by the persister alone. */
  questions(): number
  /** What a counter of task shows. */
  count(series: string): Promise<number>
  /**
   * An entry in its conversation's log and in the stream, with its head, as append.lua leaves them.
   * @returns what a consumer would be given
   */
  append(conversation: string, seq: number, over?: Partial<Entry>): Promise<Delivery>
  /** The rows: a seq, or `from-to reason` for a void. */
  rows(conversation: string): Promise<(number | string)[]>
}

export async function world(t: Test): Promise<World> {
  const unique = randomBytes(6).toString('hex')
  const mysqlUrl = new URL(given('TIDINGS_MYSQL_URL'))
  mysqlUrl.pathname = `/t_${unique}`
  await migrate(mysqlUrl.href)
  const store = connectStore(mysqlUrl.href, log)
  const keys = createKeys(`t-${unique}`, 1)
  const redis = await connectRedis(given('TIDINGS_REDIS_URL'), log)
  const metrics = createMetrics('task', 'test')
  t.after(async () => {
    const names = await redis.keys(`t-${unique}:*`)
    if (names.length > 0) await redis.del(...names)
    redis.disconnect()
    await store.use((db) => db.run(`DROP DATABASE t_${unique}`))
    await store.stop()
  })
  let asked = 0
  const counted: Store = {
    ...store,
    use(work) {
      asked++
      return store.use(work)
    },
  }
  const persister = createPersister({ store: counted, redis, keys, log, metrics, tracing: noTracing })
  let lastId = 7_261_234_567_890_123_456n

  return {
    redis,
    keys,
    store,
    persister,
    questions: () => asked,
    async count(series) {
      const [line] = (await metrics.metrics()).split('\n').filter((one) => one.startsWith(`${series}{`))
      return Number(line?.split(' ').at(-1))
    },
    async append(conversation, seq, over = {}) {
      lastId += 1n
      const entry: Entry = {
        id: String(lastId),
        conversation,
        seq,
        n: seq,
        from: 'alice',
        type: 'text',
        content: `{"text":"number ${seq}"}`,
        clientId: '',
        sentAt: Date.now(),
        trace: '',
        ...over,
      }
      const fields = Object.entries(entry).flatMap(([name, value]) => [name, String(value)])
      await redis.xadd(keys.log(conversation), `${seq}-0`, ...fields)
      const streamId = await redis.xadd(keys.messages(0), '*', ...fields)
      await redis.set(keys.seq(conversation), seq)
      const [seconds = 0, micros = 0] = await redis.time()
      await redis.zadd(keys.recent(0), seconds * 1_000 + Math.floor(micros / 1_000), conversation)
      return { partition: 0, fence: 1, streamId: streamId!, entry }
    },
    async rows(conversation) {
      const rows = await store.use((db) =>
        db.select<{ seq: string; type: string; void_from: string | null; reason: string | null }>(
          'SELECT seq, type, void_from, reason FROM entries WHERE conversation = ? ORDER BY seq',
          [conversation],
        ),
      )
      return rows.map(({ seq, type, void_from, reason }) =>
        type === 'void' ? `${void_from}-${seq} ${reason ?? ''}`.trim() : Number(seq),
      )
    },
  }
}

/** Waits for a fact. */
export async function until(what: string, check: () => unknown): Promise<void> {
  const end = performance.now() + 30_000
  while (!(await check())) {
    if (performance.now() > end) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
