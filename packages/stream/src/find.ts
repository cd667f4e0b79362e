/** Finding one entry by its id where MySQL does not know it yet: in the streams, around the time when it was accepted. */
import { AppError, type Entry } from '@tidings/protocol'
import { decodeEntry, PoisonError } from './entry.js'
import { foldAll } from './folds.js'
import type { Keys } from './keys.js'
import { type Redis, redisAway, together } from './redis.js'
import { isBelow, parseStreamId } from './stream-id.js'

/** Clocks of our machines, and the wait in an appender, may make this much of a difference. */
const BEFORE_MS = 5_000
const AFTER_MS = 30_000
/** Mostly it is less, so what is further back is looked at last. */
const CLOSE_MS = 500
/** Entries that are read at once of a partition, with all they hold. */
const PAGE = 200
/** Entries, of all partitions together, that are looked at in one stretch of time. */
const MOST = 10_000

/** A part of a partition's stream, both ends included. */
interface Stretch {
  partition: number
  from: string
  to: string
}

interface Found {
  partition: number
  streamId: string
  fields: string[]
}

/**
 * An entry that MySQL did not have when it was asked. What lies below persist's mark is not looked at, for MySQL has it: whoever finds nothing here
 * asks MySQL once more, for it may have been stored in between.
 * @param atMs milliseconds since 1970 when the id was made
 * @returns the entry as readers see it, or undefined when no stream holds it
 * @throws AppError `unavailable`; `overloaded` when so much is not stored yet that it was not looked through
 */
export async function findInStreams(redis: Redis, keys: Keys, id: string, atMs: number): Promise<Entry | undefined> {
  const partitions = Array.from({ length: keys.partitions }, (_, partition) => partition)
  try {
    const marks = await together(redis, () =>
      Promise.all(partitions.map((partition) => redis.get(keys.mark(partition, 'persist')))),
    )
    const found = await lookAround(redis, keys, id, atMs, new Map(partitions.map((p) => [p, marks[p] ?? '0-0'])))
    if (found === 'unfinished')
      throw new AppError('overloaded', 'Too much waits to be stored to find the message now.', { retryAfter: 2 })
    return found && (await foldAll(redis, keys, [decodeEntry(found.fields, found.partition, keys.partitionOf)]))[0]
  } catch (error) {
    // Written by hand, and not as we do.
    if (error instanceof PoisonError) return undefined
    throw error instanceof AppError ? error : redisAway(error)
  }
}

/** @returns the id of the stream entry that holds it, or undefined when it is not found in its stream @throws AppError `unavailable` */
export async function findStreamId(
  redis: Redis,
  keys: Keys,
  partition: number,
  id: string,
  atMs: number,
): Promise<string | undefined> {
  try {
    const found = await lookAround(redis, keys, id, atMs, new Map([[partition, '0-0']]))
    return found === 'unfinished' ? undefined : found?.streamId
  } catch (error) {
    throw redisAway(error)
  }
}

/** @param marks by partition that is looked at: below them nothing is looked for */
async function lookAround(
  redis: Redis,
  keys: Keys,
  id: string,
  atMs: number,
  marks: ReadonlyMap<number, string>,
): Promise<Found | 'unfinished' | undefined> {
  const closeMs = Math.max(0, atMs - CLOSE_MS)
  const between = (fromMs: number, to: string): Stretch[] =>
    [...marks].flatMap(([partition, mark]) => {
      const from = later(`${fromMs}-0`, mark)
      return isBelow(parseStreamId(from), parseStreamId(to)) ? [{ partition, from, to }] : []
    })
  const close = await look(redis, keys, id, between(closeMs, `${atMs + AFTER_MS}-0`))
  if (close) return close
  const before = await look(redis, keys, id, between(Math.max(0, atMs - BEFORE_MS), `${closeMs}-0`))
  if (before) return before
  return look(redis, keys, id, await ahead(redis, keys, atMs + AFTER_MS, marks))
}

/**
 * Stream ids never go back: where Redis' clock was ahead and was set right, all that comes stands ahead of its time, until the time is there.
 * Of such streams, what no other stretch has.
 */
async function ahead(redis: Redis, keys: Keys, fromMs: number, marks: ReadonlyMap<number, string>): Promise<Stretch[]> {
  const now = Date.now()
  const newest = await together(redis, () =>
    Promise.all([...marks.keys()].map((partition) => redis.xrevrange(keys.messages(partition), '+', '-', 'COUNT', 1))),
  )
  return [...marks].flatMap(([partition, mark], i) => {
    const last = newest[i]?.[0]?.[0]
    if (last === undefined || isBelow(parseStreamId(last), parseStreamId(`${now + AFTER_MS}-0`))) return []
    return [{ partition, from: later(`${fromMs}-0`, mark), to: '+' }]
  })
}

const later = (a: string, b: string): string => (isBelow(parseStreamId(a), parseStreamId(b)) ? b : a)

/** Looks at them side by side, a page of each at a time. */
async function look(
  redis: Redis,
  keys: Keys,
  id: string,
  stretches: readonly Stretch[],
): Promise<Found | 'unfinished' | undefined> {
  let open = stretches
  let seen = 0
  while (open.length > 0) {
    if (seen >= MOST) return 'unfinished'
    const reading = open
    const pages = await together(redis, () =>
      Promise.all(
        reading.map(({ partition, from, to }) => redis.xrange(keys.messages(partition), from, to, 'COUNT', PAGE)),
      ),
    )
    const further: Stretch[] = []
    for (const [i, rows] of pages.entries()) {
      const stretch = reading[i]!
      const row = rows.find(([, fields]) => fields[0] === 'id' && fields[1] === id)
      if (row) return { partition: stretch.partition, streamId: row[0], fields: row[1] }
      seen += rows.length
      if (rows.length === PAGE) further.push({ ...stretch, from: `(${rows.at(-1)![0]}` })
    }
    open = further
  }
  return undefined
}
