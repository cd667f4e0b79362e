/** Finding one entry by its id where MySQL does not know it yet: in the streams, around the time when it was accepted. */
import type { Entry } from '@tidings/protocol'
import { decodeEntry, PoisonError } from './entry.js'
import { foldAll } from './folds.js'
import type { Keys } from './keys.js'
import { type Redis, redisAway } from './redis.js'

/** Clocks of our machines, and the wait in an appender, may make this much of a difference. */
const BEFORE_MS = 5_000
const AFTER_MS = 30_000
/** Entries that are looked at in each partition. */
const MOST = 5_000

/**
 * @param atMs milliseconds since 1970 when the id was made
 * @returns the entry as readers see it, or undefined when no stream holds it
 * @throws AppError `unavailable`
 */
export async function findInStreams(redis: Redis, keys: Keys, id: string, atMs: number): Promise<Entry | undefined> {
  const partitions = Array.from({ length: keys.partitions }, (_, partition) => partition)
  const found = await Promise.all(partitions.map((partition) => findIn(redis, keys, partition, id, atMs)))
  return found.find((entry) => entry !== undefined)
}

async function findIn(
  redis: Redis,
  keys: Keys,
  partition: number,
  id: string,
  atMs: number,
): Promise<Entry | undefined> {
  const row = await findRow(redis, keys, partition, id, atMs)
  try {
    return row && (await foldAll(redis, keys, [decodeEntry(row[1], partition, keys.partitionOf)]))[0]
  } catch (error) {
    // Written by hand, and not as we do.
    if (error instanceof PoisonError) return undefined
    throw redisAway(error)
  }
}

async function findRow(
  redis: Redis,
  keys: Keys,
  partition: number,
  id: string,
  atMs: number,
): Promise<[id: string, fields: string[]] | undefined> {
  const from = String(Math.max(0, atMs - BEFORE_MS))
  try {
    const rows = await redis.xrange(keys.messages(partition), from, String(atMs + AFTER_MS), 'COUNT', MOST)
    return rows.find(([, fields]) => fields[0] === 'id' && fields[1] === id)
  } catch (error) {
    throw redisAway(error)
  }
}

/** @returns the id of the stream entry that holds it, or undefined when its stream does not @throws AppError `unavailable` */
export async function findStreamId(
  redis: Redis,
  keys: Keys,
  partition: number,
  id: string,
  atMs: number,
): Promise<string | undefined> {
  return (await findRow(redis, keys, partition, id, atMs))?.[0]
}
