/** One push to its service, and what came of it. */
import { AppError } from '@tidings/protocol'
import type { Logger, StageMetrics } from '@tidings/service'
import { type ClaimedPush, forgetPushSubscription, type Store } from '@tidings/store'
import type { Keys, Redis } from '@tidings/stream'
import type { Post } from './outgoing.js'
import type { PushHosts } from './push-hosts.js'
import { pushRequest, type Vapid } from './push-request.js'

/** Between the tries of a push. */
export const RETRY = { firstMs: 2_000, maxMs: 3_600_000 }

/** What sending pushes takes, whoever they are for. */
export interface PushDeps {
  store: Store
  redis: Redis
  keys: Keys
  post: Post
  /** Ends the requests that run. */
  cut(): void
  vapid: Vapid
  /** How long a device has to acknowledge. */
  afterMs: number
  metrics: StageMetrics
  log: Logger
  lookEveryMs?: number
  /** What is claimed is nobody else's for so long. */
  claimMs?: number
}

export type Placed = ClaimedPush & { subscription: NonNullable<ClaimedPush['subscription']> }
/** `again`: after so many milliseconds at least. */
export type PushFate = 'pushed' | 'gone' | 'refused' | { again: number }

export const hostOf = ({ subscription }: Pick<Placed, 'subscription'>): string => new URL(subscription.endpoint).host

/**
 * @returns sends a push whose host has given it a place, and gives that back
 * @throws AppError `unavailable` when the end of a subscription could not be written
 */
export function createPushPost(
  { store, post, vapid, log }: Pick<PushDeps, 'store' | 'post' | 'vapid' | 'log'>,
  hosts: PushHosts,
): (push: Placed) => Promise<PushFate> {
  return async (push) => {
    const host = hostOf(push)
    let well = false
    try {
      const { status, retryAfterMs } = await post(pushRequest(push, vapid))
      well = status < 500
      if (status >= 200 && status < 300) return 'pushed'
      if (status === 404 || status === 410) {
        await forgetPushSubscription(store, push.subscription.id)
        return 'gone'
      }
      if (status === 429 || status >= 500) return { again: Math.min(retryAfterMs, RETRY.maxMs) }
      // The endpoint itself is a secret of the device's.
      log.warn({ host, status }, 'a push service refuses a push')
      return 'refused'
    } catch (error) {
      if (error instanceof AppError) throw error
      log.debug({ host, err: error instanceof Error ? error.message : error }, 'a push service was not reached')
      return { again: 0 }
    } finally {
      hosts.leave(host, well, Date.now())
    }
  }
}
