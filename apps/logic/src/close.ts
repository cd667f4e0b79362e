/**
 * The last thing before our own Redis is stopped: its partitions are marked as closed in order, so that the next start knows that
 * nothing was lost and conversations go on with the next seq (packages/stream/src/generation.ts).
 */
import { randomBytes } from 'node:crypto'
import { createLogger } from '@tidings/service'
import { connectStore, generationLedger } from '@tidings/store'
import { closeGeneration, connectRedis, createKeys } from '@tidings/stream'

const BOUND_MS = 1_000

export interface DataSet {
  redisUrl: string
  mysqlUrl: string
  namespace: string
  partitions: number
}

/**
 * To be called when no app runs any more. A partition that is not closed costs its conversations a void, and nothing else.
 * @throws Error when it could not be done within a second
 */
export async function closePartitions(set: DataSet): Promise<void> {
  const log = createLogger({ app: 'logic', instance: 'close', level: 'silent' })
  const store = connectStore(set.mysqlUrl, log)
  const timer = new AbortController()
  try {
    const tooLate = new Promise<never>((_, reject) => {
      const timeout = setTimeout(() => reject(new Error('it took too long')), BOUND_MS)
      timer.signal.addEventListener('abort', () => clearTimeout(timeout))
    })
    await Promise.race([closeAll(set, store, log), tooLate])
  } finally {
    timer.abort()
    await store.stop()
  }
}

async function closeAll(
  set: DataSet,
  store: ReturnType<typeof connectStore>,
  log: ReturnType<typeof createLogger>,
): Promise<void> {
  const keys = createKeys(set.namespace, set.partitions)
  const redis = await connectRedis(set.redisUrl, log)
  try {
    const word = randomBytes(12).toString('hex')
    const partitions = Array.from({ length: set.partitions }, (_, partition) => partition)
    await Promise.all(partitions.map((p) => closeGeneration(redis, keys, p, generationLedger(store, p), word)))
  } finally {
    redis.disconnect()
  }
}
