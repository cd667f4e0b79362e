/** Who is in a room together with somebody. */
import { parseGeneration } from './generation.js'
import type { Keys } from './keys.js'
import { type Redis, redisAway, together } from './redis.js'

/** Rooms in one round trip. */
const CHUNK = 50

/**
 * Those of `others` who are in one of these rooms, and `user` too. A room of which Redis has lost who is in it counts as empty until
 * its members are put back.
 * @throws AppError `unavailable`
 */
export async function fellowMembers(
  redis: Redis,
  keys: Keys,
  user: string,
  others: readonly string[],
  rooms: readonly string[],
): Promise<Set<string>> {
  const found = new Set<string>()
  try {
    for (let at = 0; at < rooms.length && found.size < others.length; at += CHUNK) {
      const chunk = rooms.slice(at, at + CHUNK)
      const rest = others.filter((other) => !found.has(other))
      const [hashes, records] = await together(redis, () =>
        Promise.all([
          Promise.all(chunk.map((room) => redis.hmget(keys.members(room), '*', user, ...rest))),
          Promise.all(chunk.map((room) => redis.get(keys.generation(keys.partitionOf(room))))),
        ]),
      )
      for (const [i, [about, mine, ...theirs]] of hashes.entries()) {
        if (!isOf(about, records[i]) || !isIn(mine)) continue
        for (const [j, place] of theirs.entries()) if (isIn(place)) found.add(rest[j]!)
      }
    }
  } catch (error) {
    throw redisAway(error)
  }
  return found
}

/** Was it written in the generation that is now? */
const isOf = (about: string | null | undefined, record: string | null | undefined): boolean =>
  typeof about === 'string' && Number(about.split(' ')[0]) === parseGeneration(record ?? '')?.number

/** `0:` while the entry that lets somebody in is not in the log yet. */
const isIn = (place: string | null | undefined): boolean => typeof place === 'string' && !place.startsWith('0:')
