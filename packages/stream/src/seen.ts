/** When somebody was last here: a key per user, forgotten after a while. */
import type { Keys } from './keys.js'
import { type Redis, redisAway, together } from './redis.js'

const KEPT_S = 90 * 24 * 60 * 60
/** Keys in one write. */
const CHUNK = 1_000

/** @param seen user to milliseconds since 1970 @throws AppError `unavailable`: some may be written */
export async function saveSeen(redis: Redis, keys: Keys, seen: ReadonlyMap<string, number>): Promise<void> {
  const all = [...seen]
  try {
    for (let at = 0; at < all.length; at += CHUNK) {
      const chunk = all.slice(at, at + CHUNK)
      await together(redis, () => Promise.all(chunk.map(([user, ms]) => redis.set(keys.seen(user), ms, 'EX', KEPT_S))))
    }
  } catch (error) {
    throw redisAway(error)
  }
}

/** Milliseconds since 1970 for each user, 0 where it is not known. @throws AppError `unavailable` */
export async function readSeen(redis: Redis, keys: Keys, users: readonly string[]): Promise<number[]> {
  try {
    return (await together(redis, () => Promise.all(users.map((user) => redis.get(keys.seen(user)))))).map(Number)
  } catch (error) {
    throw redisAway(error)
  }
}
