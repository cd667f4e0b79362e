/**
 * From the table of deliveries to the endpoints. Several workers share the table; a row that one has claimed comes back by itself when
 * that one dies. Promise: what is in the table is posted at least once, or becomes a dead letter after its time. An endpoint that is
 * slow or dead holds up nobody but itself: it has a share of the requests, and a breaker.
 */
import { AppError } from '@tidings/protocol'
import { backoffMs, type Logger, type StageMetrics, type Stoppable } from '@tidings/service'
import {
  buryDelivery,
  buryOverdue,
  type ClaimedDelivery,
  claimDeliveries,
  deleteDeliveries,
  disableGoneWebhook,
  forgetDeliveries,
  forgetOldSecrets,
  nextDue,
  postponeDelivery,
  type Store,
  type WebhookRow,
} from '@tidings/store'
import { type Breaker, createBreaker } from './breaker.js'
import type { Hooks } from './hooks.js'
import { startLooker } from './looker.js'
import type { Answer, Post } from './outgoing.js'
import { secretsAt, signedHeaders } from './signature.js'

const LOOK_EVERY_MS = 1_000
const BURY_EVERY_MS = 5_000
const FORGET_EVERY_MS = 60_000
/** Requests at the same time: to one webhook, to one host, and in all. */
const PER_HOOK = 32
const PER_HOST = 64
const IN_ALL = 256
/** Longer than a request may take: a row that is claimed is nobody else's. */
const CLAIM_MS = 15_000
const RETRY = { firstMs: 1_000, maxMs: 3_600_000 }
const DAY_MS = 24 * 3_600_000
const DEAD_KEPT_MS = 30 * DAY_MS
const MOST_DEAD = 10_000
const GONE = 410

export interface WebhookSender extends Stoppable {
  /** Something is due to this webhook now. */
  kick(webhook: string): void
}

export function startWebhookSender(deps: {
  store: Store
  hooks: Pick<Hooks, 'get'>
  post: Post
  /** Ends the requests that run. */
  cut(): void
  /** How long a delivery is tried again. */
  retryForMs: number
  /** Messages are kept for so many days, 0: for ever. A dead letter is not kept longer. */
  retentionDays: number
  metrics: StageMetrics
  log: Logger
  lookEveryMs?: number
  claimMs?: number
}): WebhookSender {
  const { store, hooks, post, cut, retryForMs, retentionDays, metrics, log } = deps
  const { lookEveryMs = LOOK_EVERY_MS, claimMs = CLAIM_MS } = deps
  const breakers = new Map<string, Breaker>()
  /** Requests on their way, by host. */
  const toHost = new Map<string, number>()
  const pumping = new Map<string, Promise<void>>()
  /** Something became due while it was pumped. */
  const again = new Set<string>()
  /** Webhooks for which there was no room when something was due to them. */
  const crowdedOut = new Set<string>()
  let inAll = 0
  let buriedAt = performance.now()
  let forgotAt = performance.now()

  function breakerOf(id: string): Breaker {
    let breaker = breakers.get(id)
    if (!breaker) {
      breaker = createBreaker()
      breakers.set(id, breaker)
    }
    return breaker
  }

  /**
   * How many deliveries of the webhook may be claimed now: no more than can be sent at once. The more webhooks are waited for, the less
   * each may have: when all of them are slow, there is room for one more.
   */
  function freeFor(hook: WebhookRow, host: string): number {
    if (inAll >= IN_ALL) crowdedOut.add(hook.id)
    else crowdedOut.delete(hook.id)
    const wanting = new Set([...pumping.keys(), ...crowdedOut, hook.id]).size
    const share = Math.max(1, Math.min(PER_HOOK, Math.floor(IN_ALL / (wanting + 1))))
    const most = Math.min(share, PER_HOST - (toHost.get(host) ?? 0), IN_ALL - inAll)
    return breakerOf(hook.id).allows(Date.now(), Math.max(0, most))
  }

  async function pump(id: string): Promise<void> {
    while (!looker.isStopped) {
      const hook = hooks.get(id)
      if (!hook || hook.disabledAt !== null) return
      const { host } = new URL(hook.url)
      const limit = freeFor(hook, host)
      if (limit === 0) return
      // Counted before the claim, which waits: others look at the same counts.
      reserve(host, limit)
      let claimed: ClaimedDelivery[] = []
      let reserved = limit
      try {
        const now = Date.now()
        claimed = await claimDeliveries(store, {
          ...{ webhook: id, limit },
          ...{ now: new Date(now), until: new Date(now + claimMs) },
        })
        reserve(host, claimed.length - limit)
        reserved = claimed.length
        const taken = await Promise.all(claimed.map((delivery) => sendOne(hook, delivery)))
        await deleteDeliveries(
          store,
          taken.flatMap((done, i) => (done ? [claimed[i]!.id] : [])),
        )
      } finally {
        reserve(host, -reserved)
      }
      if (claimed.length < limit && !again.delete(id)) return
    }
  }

  function reserve(host: string, requests: number): void {
    inAll += requests
    const now = (toHost.get(host) ?? 0) + requests
    if (now > 0) toHost.set(host, now)
    else toHost.delete(host)
  }

  /** @returns whether the endpoint has taken it */
  async function sendOne(hook: WebhookRow, delivery: ClaimedDelivery): Promise<boolean> {
    const began = performance.now()
    const { eventId, body } = delivery
    const now = Date.now()
    const answer = await attempt({
      url: hook.url,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'tidings-webhooks',
        ...signedHeaders(secretsAt(hook, now), eventId, Math.floor(now / 1_000), body),
      },
      body,
    })
    if ('status' in answer && answer.status >= 200 && answer.status < 300) {
      breakerOf(hook.id).succeeded()
      metrics.done(performance.now() - began)
      return true
    }
    breakerOf(hook.id).failed(Date.now())
    if ('status' in answer && answer.status === GONE) await disable(hook)
    await failed(hook, delivery, reasonOf(answer), 'retryAfterMs' in answer ? answer.retryAfterMs : 0)
    return false
  }

  async function attempt(outgoing: Parameters<Post>[0]): Promise<Answer | { error: string }> {
    try {
      return await post(outgoing)
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) }
    }
  }

  async function disable({ id, url }: WebhookRow): Promise<void> {
    if (await disableGoneWebhook(store, id, url, new Date()))
      log.warn({ webhook: id }, 'a webhook answers 410 Gone and is told nothing more')
  }

  async function failed(hook: WebhookRow, delivery: ClaimedDelivery, reason: string, after: number): Promise<void> {
    const now = Date.now()
    const dueAt = now + Math.max(backoffMs(delivery.tries, RETRY), Math.min(after, RETRY.maxMs))
    if (dueAt > delivery.retryFrom.getTime() + retryForMs) {
      metrics.failed('dead')
      log.warn({ webhook: hook.id, event: delivery.eventId, reason }, 'an event is given up for a webhook')
      await buryDelivery(store, delivery.id, new Date(now), reason)
    } else {
      metrics.failed('retry')
      await postponeDelivery(store, delivery.id, new Date(dueAt), reason)
    }
  }

  function kick(id: string): void {
    if (looker.isStopped) return
    again.add(id)
    if (pumping.has(id)) return
    again.delete(id)
    const running = pump(id)
      .catch((error: unknown) => {
        // Away is said by the store itself. What was sent and not written down is sent again.
        if (!(error instanceof AppError)) log.error({ err: error, webhook: id }, 'deliveries cannot be sent')
      })
      .finally(() => pumping.delete(id))
    pumping.set(id, running)
  }

  async function look(): Promise<void> {
    const now = Date.now()
    const due = await nextDue(store)
    for (const id of crowdedOut) if (!due.has(id) || hooks.get(id)?.disabledAt !== null) crowdedOut.delete(id)
    for (const [id, first] of due) if (first.getTime() <= now) kick(id)
    if (performance.now() - buriedAt > BURY_EVERY_MS) {
      await buryAll(due.keys(), now)
      buriedAt = performance.now()
    }
    if (performance.now() - forgotAt > FORGET_EVERY_MS) {
      for (const id of [...breakers.keys()]) if (!hooks.get(id)) breakers.delete(id)
      await forgetOldSecrets(store, new Date(now))
      await forgetDeliveries(store, {
        deadUntil: new Date(now - DEAD_KEPT_MS),
        notedUntil: retentionDays > 0 ? new Date(now - retentionDays * DAY_MS) : undefined,
        most: MOST_DEAD,
      })
      forgotAt = performance.now()
    }
  }

  /** What waits behind an open breaker, or for somebody to enable the webhook, becomes a dead letter when its time is over, too. */
  async function buryAll(ids: Iterable<string>, now: number): Promise<void> {
    const before = new Date(now - retryForMs)
    for (const id of ids) {
      const hook = hooks.get(id)
      const rests = hook && (hook.disabledAt !== null || breakerOf(id).openUntil > 0)
      if (rests) metrics.failed('dead', await buryOverdue(store, id, before, new Date(now)))
    }
  }

  const looker = startLooker({
    ...{ look, everyMs: lookEveryMs, cut, trouble: 'deliveries cannot be looked for', log },
    // What is on its way may end; what does not in time is tried again.
    rest: () => Promise.all(pumping.values()),
  })
  return { kick, stop: looker.stop }
}

function reasonOf(answer: Answer | { error: string }): string {
  if ('error' in answer) return answer.error
  if (answer.status >= 300 && answer.status < 400) return `answered ${answer.status}: redirects are not followed`
  return `answered ${answer.status}`
}
