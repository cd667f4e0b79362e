/** Message ids: 41 bits of milliseconds, 10 bits of worker id, 12 bits of count (Twitter's Snowflake, 2010). */
import { AppError, SNOWFLAKE_EPOCH_MS as EPOCH_MS } from '@tidings/protocol'
import type { WorkerId } from './workers.js'

const COUNTS = 4_096
/** A clock that was set back further than this is a fault, not jitter. */
const MOST_BACK_MS = 1_000

/**
 * Makes unique ids that rise within this process. When the clock steps back a little, or more than 4,096 are wanted in a millisecond,
 * the next millisecond is borrowed.
 * @throws AppError `unavailable` (from the returned function) while the worker id may be another's, or the clock went back
 */
export function createIds(worker: Pick<WorkerId, 'n' | 'fresh'>, now: () => number = Date.now): () => string {
  let last = 0
  let count = 0
  return () => {
    if (!worker.fresh())
      throw new AppError('unavailable', 'No message ids can be made while etcd is away.', { retryAfter: 5 })
    const time = now() - EPOCH_MS
    if (time > last) {
      last = time
      count = 0
    } else {
      if (last - time > MOST_BACK_MS)
        throw new AppError('unavailable', 'The clock of this machine went back.', { retryAfter: 5 })
      count++
      if (count === COUNTS) {
        last++
        count = 0
      }
    }
    return String((BigInt(last) << 22n) | (BigInt(worker.n) << 12n) | BigInt(count))
  }
}

/** @returns milliseconds since 1970 when the id was made */
export const timeOfId = (id: string): number => Number(BigInt(id) >> 22n) + EPOCH_MS
