/** Which signed requests were seen: all api processes remember them together, in Redis. */
import { type Keys, type Redis, redisAway } from '@tidings/stream'

/** Longer than a signature holds, from the first moment to the last: a timestamp may be ahead by as much as it may be behind. */
const KEPT_MS = 11 * 60_000

export interface Nonces {
  /** @returns false when this key has shown this nonce before @throws AppError `unavailable`: nobody can tell */
  use(key: string, nonce: string): Promise<boolean>
}

export function createNonces(redis: Redis, keys: Keys): Nonces {
  return {
    async use(key, nonce) {
      try {
        return (await redis.set(keys.nonce(key, nonce), '1', 'PX', KEPT_MS, 'NX')) === 'OK'
      } catch (error) {
        throw redisAway(error)
      }
    },
  }
}
