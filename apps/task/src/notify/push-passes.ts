/**
 * Pushes what came in large rooms and to everyone to the devices that have not acknowledged it in time: a page of people at a time, so
 * that memory is bounded however many there are. Promise: every subscription is tried, or waits for its try as a push that is due to its
 * device alone, which is also what becomes of those that a service does not take; where there is no room for more of these, the pass waits,
 * for a day at most (push-page.ts). When a worker dies, those of one page are tried twice. Pages of several conversations take turns; the
 * delivery of other entries and pushes waits for none of it.
 */
import type { Stoppable } from '@tidings/service'
import {
  advancePass,
  claimPass,
  nextPassDue,
  type Pass,
  type PeoplePage,
  type PushedDevice,
  postponePass,
  pushPeopleAfter,
} from '@tidings/store'
import { readPositions } from '@tidings/stream'
import { startLooker } from './looker.js'
import { createPassTargets, type Target } from './pass-target.js'
import { createPushHosts, type PushBounds, type PushHosts } from './push-hosts.js'
import { createPageSender } from './push-page.js'
import { createPushPost, type Placed, type PushDeps, RETRY } from './push-post.js'
import { TTL_S } from './push-request.js'

const LOOK_EVERY_MS = 500
/** People in a page: so many may be told twice, and be in memory with up to twenty devices each. */
const PEOPLE = 200
/** On their way at the same time, beside those of push-sender.ts. */
const BOUNDS: PushBounds = { inAll: 128, perHost: 64 }
/** A page ends well within it, push-page.ts. */
const CLAIM_MS = 20_000
/** Of a pass that waits, until it looks whether it may go on. */
const HELD_MS = 10_000

export interface PushPassesDeps extends PushDeps {
  withText: boolean
  /** How many people have subscriptions. */
  subscribers: { readonly size: number }
  /** May so many more devices wait for a push? They count from then on. */
  admit(devices: number): boolean
  people?: number
  /** For tests. */
  hosts?: PushHosts
}

export function startPushPasses(deps: PushPassesDeps): Stoppable {
  const { store, redis, keys, cut, afterMs, subscribers, admit, metrics, log } = deps
  const { lookEveryMs = LOOK_EVERY_MS, claimMs = CLAIM_MS, people = PEOPLE } = deps
  const { hosts = createPushHosts(Math.random, BOUNDS) } = deps
  const send = createPushPost(deps, hosts)
  const sendAll = createPageSender({ hosts, send, admit, metrics, isStopped: () => looker.isStopped })
  const targets = createPassTargets(deps)

  /** Those that have it by now, MySQL being a moment behind. One round trip. */
  async function withoutDone(devices: readonly PushedDevice[], { conversation }: Pass, seq: number) {
    if (devices.length === 0) return []
    const positions = await readPositions(
      redis,
      keys,
      devices.map(({ user, device }) => ({ user, device, conversation })),
    )
    return devices.filter((_, i) => Math.max(positions[i]!.acknowledged, positions[i]!.read) < seq)
  }

  function toPush(one: PushedDevice, { conversation }: Pass, target: Target, page: PeoplePage): Placed {
    const { seq, id, from, preview, expiresAt, urgent, sentAt } = target
    return {
      ...{ ...one, conversation, seq, id, from, preview, expiresAt, urgent, createdAt: new Date(sentAt) },
      ...{ tries: 0, muted: false, fromName: page.fromName, roomName: page.roomName },
    }
  }

  async function doPage(pass: Pass): Promise<void> {
    const now = Date.now()
    const found = await targets.of(pass)
    const nextPassAt = () => new Date(Date.now() + afterMs)
    if (found === 'nothing') {
      await advancePass(store, pass, {
        passSeq: pass.passSeq || pass.seq,
        afterUser: undefined,
        nextDueAt: nextPassAt(),
      })
      return
    }
    if ('later' in found) {
      await postponePass(store, pass, found.later)
      return
    }
    const { target } = found
    const { conversation, afterUser: after } = pass
    const room = conversation.startsWith('room:') ? conversation.slice('room:'.length) : undefined
    const push = { conversation, seq: target.seq, from: target.from, sentAt: target.sentAt }
    const page = await pushPeopleAfter(store, push, { room, after, limit: people, subscribers: subscribers.size })
    const due = await withoutDone(page.devices, pass, target.seq)
    if (due.length < page.devices.length) metrics.failed('not_needed', page.devices.length - due.length)
    const { afterUser, again, isHeld } = await sendAll({
      pushes: due.map((one) => toPush(one, pass, target, page)),
      ...{ after, upTo: page.upTo, giveUpAt: target.sentAt + TTL_S * 1_000 },
    })
    if (isHeld) metrics.failed('held')
    const nextPageAt = () => new Date(Date.now() + (isHeld ? HELD_MS : 0))
    const written = await advancePass(store, pass, {
      passSeq: pass.passSeq || target.seq,
      afterUser,
      nextDueAt: afterUser === undefined ? nextPassAt() : nextPageAt(),
      again,
      againAt: new Date(Date.now() + RETRY.firstMs),
    })
    if (!written)
      log.warn({ conversation, ms: Date.now() - now }, 'a page of pushes took so long that another worker does it')
  }

  async function look(): Promise<void> {
    while (!looker.isStopped) {
      const due = await nextPassDue(store)
      const now = Date.now()
      if (looker.isStopped || !due || due.getTime() > now) return
      const pass = await claimPass(store, new Date(now), new Date(now + claimMs))
      if (!pass) return
      await doPage(pass)
    }
  }

  const looker = startLooker({ look, everyMs: lookEveryMs, cut, trouble: 'a page of pushes cannot be sent', log })
  return { stop: looker.stop }
}
