/**
 * Pushes what is due to devices that have not acknowledged it. Promise: a device that has the entry, a person who has read it or muted
 * the conversation, whoever would hear of it after it has expired, and whoever is not in the room any more, are not pushed to; one push for a conversation and device at a time. It is a hint: what a service
 * refuses for a day is given up, for the entry waits for the device anyway.
 */
import { AppError, isRoom } from '@tidings/protocol'
import { backoffMs, type Logger, type StageMetrics, type Stoppable } from '@tidings/service'
import {
  type ClaimedPush,
  claimPushes,
  finishPush,
  forgetPushSubscription,
  nextPushDue,
  postponePush,
  type Store,
} from '@tidings/store'
import { type Keys, type Redis, readMemberships, readPositions } from '@tidings/stream'
import type { Post } from './outgoing.js'
import { pushRequest, TTL_S, type Vapid } from './push-request.js'

const LOOK_EVERY_MS = 500
const CLAIM = 64
/** Longer than a request may take. */
const CLAIM_MS = 15_000
/** Requests that run when the worker stops may take this long. */
const FINISH_MS = 1_500
const RETRY = { firstMs: 2_000, maxMs: 3_600_000 }

type Fate = 'pushed' | 'not_needed' | 'gone' | 'refused' | { again: number }

export function startPushSender(deps: {
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
  claimMs?: number
}): Stoppable {
  const { store, redis, keys, post, cut, vapid, afterMs, metrics, log } = deps
  const { lookEveryMs = LOOK_EVERY_MS, claimMs = CLAIM_MS } = deps
  let stopped = false
  let looking: Promise<void> | undefined

  /** Those that still need it. @throws AppError `unavailable` */
  async function needed(pushes: readonly ClaimedPush[]): Promise<Set<ClaimedPush>> {
    const positions = await readPositions(redis, keys, pushes)
    const waiting = pushes.filter(
      ({ seq, subscription, muted, expiresAt }, i) =>
        subscription &&
        !muted &&
        (expiresAt ?? Number.POSITIVE_INFINITY) > Date.now() &&
        Math.max(positions[i]!.acknowledged, positions[i]!.read) < seq,
    )
    const inside = await Promise.all(waiting.map(mayRead))
    return new Set(waiting.filter((_, i) => inside[i]))
  }

  /** Whoever has left a room in the meantime is told nothing of it. */
  async function mayRead({ user, conversation, seq }: ClaimedPush): Promise<boolean> {
    if (!isRoom(conversation)) return true
    const [membership] = await readMemberships(redis, keys, user, [conversation])
    return typeof membership === 'object' && seq > membership.floor
  }

  async function send(push: ClaimedPush & { subscription: NonNullable<ClaimedPush['subscription']> }): Promise<Fate> {
    const { subscription } = push
    const { host } = new URL(subscription.endpoint)
    try {
      const { status, retryAfterMs } = await post(pushRequest(push, vapid))
      if (status >= 200 && status < 300) return 'pushed'
      if (status === 404 || status === 410) {
        await forgetPushSubscription(store, subscription.id)
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
    }
  }

  async function settleOne(push: ClaimedPush, isNeeded: boolean): Promise<void> {
    const began = performance.now()
    const { subscription } = push
    const fate = isNeeded && subscription ? await send({ ...push, subscription }) : 'not_needed'
    const now = Date.now()
    if (typeof fate === 'object') {
      const dueAt = now + Math.max(backoffMs(push.tries, RETRY), fate.again)
      if (dueAt < push.createdAt.getTime() + TTL_S * 1_000) {
        metrics.failed('retry')
        await postponePush(store, push, new Date(dueAt))
        return
      }
      metrics.failed('given_up')
    } else if (fate === 'pushed') metrics.done(performance.now() - began)
    else metrics.failed(fate)
    await finishPush(store, push, new Date(now + afterMs))
  }

  async function look(): Promise<void> {
    while (!stopped) {
      const due = await nextPushDue(store)
      const now = Date.now()
      if (!due || due.getTime() > now) return
      const pushes = await claimPushes(store, { limit: CLAIM, now: new Date(now), until: new Date(now + claimMs) })
      if (pushes.length === 0) return
      const stillNeeded = await needed(pushes)
      await Promise.all(pushes.map((push) => settleOne(push, stillNeeded.has(push))))
    }
  }

  const timer = setInterval(() => {
    looking ??= look()
      .catch((error: unknown) => {
        // Away is said by the stores; what is claimed comes back by itself.
        if (!(error instanceof AppError)) log.error({ err: error }, 'pushes cannot be sent')
      })
      .finally(() => {
        looking = undefined
      })
  }, lookEveryMs)

  return {
    async stop() {
      stopped = true
      clearInterval(timer)
      const later = setTimeout(cut, FINISH_MS)
      await looking
      clearTimeout(later)
    },
  }
}
