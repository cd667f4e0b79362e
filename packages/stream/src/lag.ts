/** How far a group is behind. */
import type { Group, Keys } from './keys.js'
import { type Redis, together } from './redis.js'
import { isBelow, parseStreamId } from './stream-id.js'

export interface Lag {
  partition: number
  /** Entries not yet read. */
  lag: number
  /** Entries read and not settled. */
  pending: number
  /** Entries in the stream. */
  length: number
  /** Dead letters. */
  dead: number
}

/**
 * Entries that persist has not settled, over all partitions: what MySQL does not have, and what trimming must keep.
 * Redis' own lag can be too high after a trim by hand, never too low for what is still there: the length bounds it.
 * @throws when Redis is away
 */
export async function readBacklog(redis: Redis, keys: Keys): Promise<number> {
  const all = Array.from({ length: keys.partitions }, (_, partition) => partition)
  const rows = await readLag(redis, keys, 'persist', all)
  return rows.reduce((sum, { lag, pending, length }) => sum + Math.min(length, lag + pending), 0)
}

/** @returns one row per partition; a stream that does not exist yet has nothing to read */
export async function readLag(redis: Redis, keys: Keys, group: Group, partitions: Iterable<number>): Promise<Lag[]> {
  const asked = [...partitions]
  const lengths = await together(redis, () =>
    Promise.all(
      asked.map((partition) =>
        Promise.all([redis.xlen(keys.messages(partition)), redis.xlen(keys.dead(partition, group))]),
      ),
    ),
  )
  const groups = await together(redis, () =>
    Promise.all(asked.map((partition, i) => (lengths[i]![0] > 0 ? groupsOf(redis, keys.messages(partition)) : []))),
  )
  return asked.map((partition, i) => {
    const [length, dead] = lengths[i]!
    const of = groups[i]!.find((row) => row.get('name') === group)
    const { lag, pending } = { lag: of?.get('lag') ?? length, pending: of?.get('pending') ?? 0 }
    return { partition, lag: Number(lag), pending: Number(pending), length, dead }
  })
}

/**
 * When the oldest entry was appended that a group has not settled, in milliseconds by the clock of the Redis that dated it.
 * @returns undefined when the group is through with all @throws when Redis is away
 */
export async function readOldest(
  redis: Redis,
  keys: Keys,
  group: Group,
  partition: number,
): Promise<number | undefined> {
  const stream = keys.messages(partition)
  const row = await groupRow(redis, stream, group)
  if (Number(row?.get('pending') ?? 0) > 0) {
    const [, least] = (await redis.xpending(stream, group)) as [number, string | null]
    if (least !== null) return timeOf(least)
  }
  const read = String(row?.get('last-delivered-id') ?? '0-0')
  const [next] = await redis.xrange(stream, `(${read}`, '+', 'COUNT', 1)
  return next && timeOf(next[0])
}

/**
 * @param place of one entry; or, where that is not known, the least place that is surely behind it
 * @returns whether a group has settled what is there, or, of a place that is not exact, all that is before it
 * @throws when Redis is away
 */
export async function isSettled(
  redis: Redis,
  keys: Keys,
  { group, partition }: { group: Group; partition: number },
  place: { streamId: string; exact: boolean },
): Promise<boolean> {
  const stream = keys.messages(partition)
  const row = await groupRow(redis, stream, group)
  if (!row || isBelow(parseStreamId(String(row.get('last-delivered-id'))), parseStreamId(place.streamId))) return false
  const from = place.exact ? place.streamId : '-'
  return ((await redis.xpending(stream, group, from, place.streamId, 1)) as unknown[]).length === 0
}

/** @returns what XINFO GROUPS says of a group; undefined where it, or the stream, is not there */
async function groupRow(
  redis: Redis,
  stream: string,
  group: Group,
): Promise<Map<string, string | number | null> | undefined> {
  if ((await redis.exists(stream)) === 0) return undefined
  return (await groupsOf(redis, stream)).find((row) => row.get('name') === group)
}

async function groupsOf(redis: Redis, stream: string): Promise<Map<string, string | number | null>[]> {
  const groups = (await redis.xinfo('GROUPS', stream)) as (string | number | null)[][]
  return groups.map(
    (row) => new Map(row.flatMap((name, i) => (i % 2 === 0 ? [[String(name), row[i + 1] ?? null] as const] : []))),
  )
}

const timeOf = (streamId: string): number => Number(streamId.split('-')[0])
