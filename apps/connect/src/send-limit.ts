/** How many messages a user may send: the bucket that the API takes from, too, so that nobody gains by sending another way. */
import { createSharedLimit, type Limit, perSecond } from '@tidings/accept'
import type { Keys, Redis } from '@tidings/stream'

export interface SendLimit {
  /** One message. @throws AppError `rate_limited`, with the seconds to wait */
  take(user: string): void
}

/** @param limits sendsPerS, as it is at each message; Infinity: they are not counted */
export function createSendLimit(redis: Redis, keys: Keys, limits: { readonly sendsPerS: number }): SendLimit {
  let inForce: { perS: number; limit: Limit } | undefined
  return {
    take(user) {
      const perS = limits.sendsPerS
      if (perS === Number.POSITIVE_INFINITY) return
      if (inForce?.perS !== perS) inForce = { perS, limit: createSharedLimit(redis, keys, 'sends', perSecond(perS)) }
      inForce.limit.take(user)
    },
  }
}
