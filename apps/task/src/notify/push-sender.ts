/**
 * Pushes what is due to devices that have not acknowledged it. Promise: a device that has the entry, a person who has read it or muted
 * the conversation, whoever would hear of it after it has expired or was taken back, and whoever is not in the room any more, are not pushed to
 * (push-need.ts); one push for a conversation and device at a time.
 * A push service that is slow or dead holds up nobody but the devices that use it. It is a hint: what a service refuses for a day is given up,
 * for the entry waits for the device anyway.
 */
import { backoffMs, type Stoppable } from '@tidings/service'
import { type ClaimedPush, claimPushes, finishPush, holdPushes, nextPushDue, postponePush } from '@tidings/store'
import { startLooker } from './looker.js'
import { createPushHosts, IN_ALL } from './push-hosts.js'
import { createPushNeed } from './push-need.js'
import { createPushPost, hostOf, type Placed, type PushDeps, type PushFate, RETRY } from './push-post.js'
import { TTL_S } from './push-request.js'

const LOOK_EVERY_MS = 500
const CLAIM = 64
/** Longer than a request may take. */
const CLAIM_MS = 15_000

type Fate = PushFate | 'not_needed'

export function startPushSender(deps: PushDeps): Stoppable {
  const { store, cut, afterMs, metrics, log } = deps
  const { lookEveryMs = LOOK_EVERY_MS, claimMs = CLAIM_MS } = deps
  const hosts = createPushHosts()
  const need = createPushNeed(deps)
  const send = createPushPost(deps, hosts)
  /** Pushes on their way, and what became of them on its way into the store. */
  const running = new Set<Promise<void>>()

  /** @param began by `performance.now()` */
  async function settleOne(push: ClaimedPush, fate: Fate, began: number): Promise<void> {
    const now = Date.now()
    if (typeof fate === 'object') {
      const dueAt = new Date(now + Math.max(backoffMs(push.tries, RETRY), fate.again))
      if (!isTooLate(push, dueAt)) {
        metrics.failed('retry')
        await postponePush(store, push, dueAt)
        return
      }
      await giveUp(push)
      return
    }
    if (fate === 'pushed') metrics.done(performance.now() - began)
    else metrics.failed(fate)
    await finishPush(store, push, new Date(now + afterMs))
  }

  async function giveUp(push: ClaimedPush): Promise<void> {
    metrics.failed('given_up')
    await finishPush(store, push, new Date(Date.now() + afterMs))
  }

  /** Lets it run: nobody waits for it but `stop`. */
  function start(work: () => Promise<void>): void {
    const one = work()
      .catch(looker.tell)
      .finally(() => running.delete(one))
    running.add(one)
  }

  /** What their hosts have no place for is due later. That is no try, but it ends after a day, too. */
  async function hold(pushes: readonly Placed[], dueAt: Date): Promise<void> {
    await holdPushes(
      store,
      pushes.filter((push) => !isTooLate(push, dueAt)),
      dueAt,
    )
    for (const push of pushes) if (isTooLate(push, dueAt)) await giveUp(push)
  }

  async function look(): Promise<void> {
    while (!looker.isStopped) {
      // Whoever ends makes room, and no further one is claimed before: it could not be sent.
      while (running.size >= IN_ALL) await Promise.race(running)
      const due = await nextPushDue(store)
      const now = Date.now()
      if (looker.isStopped || !due || due.getTime() > now) return
      const limit = Math.min(CLAIM, IN_ALL - running.size)
      const pushes = await claimPushes(store, { limit, now: new Date(now), until: new Date(now + claimMs) })
      if (pushes.length === 0) return
      const needed = await need.of(pushes)
      const later = new Map<number, Placed[]>()
      const began = performance.now()
      for (const [i, push] of pushes.entries()) {
        const { subscription } = push
        if (!subscription || !needed[i]) {
          start(() => settleOne(push, 'not_needed', began))
          continue
        }
        const placed = { ...needed[i], subscription }
        const waitMs = hosts.enter(hostOf(placed), now)
        if (waitMs > 0) later.set(waitMs, [...(later.get(waitMs) ?? []), placed])
        else start(async () => settleOne(push, await send(placed), began))
      }
      for (const [waitMs, held] of later) await hold(held, new Date(now + waitMs))
    }
  }

  const looker = startLooker({
    ...{ look, everyMs: lookEveryMs, cut, trouble: 'pushes cannot be sent', log },
    rest: () => Promise.all(running),
  })
  return { stop: looker.stop }
}

/** Would nobody want it any more by then? */
const isTooLate = ({ createdAt }: ClaimedPush, dueAt: Date): boolean =>
  dueAt.getTime() >= createdAt.getTime() + TTL_S * 1_000
