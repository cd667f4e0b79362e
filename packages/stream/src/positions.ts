/** How far a device has acknowledged a conversation, and how far its person has read it. Read only; logic moves them. */
import type { Keys } from './keys.js'
import { type Redis, redisAway, together } from './redis.js'

export interface Position {
  /** 0 where Redis knows nothing. */
  acknowledged: number
  read: number
}

/** One for each, in one round trip. @throws AppError `unavailable` */
export async function readPositions(
  redis: Redis,
  keys: Keys,
  wanted: readonly { user: string; device: string; conversation: string }[],
): Promise<Position[]> {
  try {
    return await together(redis, () =>
      Promise.all(
        wanted.map(async ({ user, device, conversation }) => {
          const [acknowledged, read] = await Promise.all([
            redis.hget(keys.cursor(user, device), conversation),
            redis.hget(keys.read(conversation), user),
          ])
          return { acknowledged: Number(acknowledged ?? 0), read: Number((read ?? '0').split(':')[0]) }
        }),
      ),
    )
  } catch (error) {
    throw redisAway(error)
  }
}
