/**
 * Pushes what came in large rooms and to everyone to the devices that have not acknowledged it in time: a page of people at a time, so
 * that memory is bounded however many there are. Promise: every subscription is tried once at least and, when a worker dies, those of one
 * page twice; pages of several conversations take turns; the delivery of other entries and pushes waits for none of it. What a service does
 * not take becomes a push that is due to its device alone, and is tried again like all others.
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
import { createPushHosts, type PushBounds } from './push-hosts.js'
import { createPushPost, hostOf, type Placed, type PushDeps, RETRY } from './push-post.js'

const LOOK_EVERY_MS = 500
/** People in a page: so many may be told twice, and be in memory with up to twenty devices each. */
const PEOPLE = 200
/** On their way at the same time, beside those of push-sender.ts. */
const BOUNDS: PushBounds = { inAll: 128, perHost: 64 }
/** A page that takes longer ends with whom it has reached. Well within the time for which it is lent, with the requests that then still run. */
const PAGE_MS = 5_000
const CLAIM_MS = 20_000

export interface PushPassesDeps extends PushDeps {
  withText: boolean
  /** How many people have subscriptions. */
  subscribers: { readonly size: number }
  /** May so many more devices wait for a push? They count from then on. */
  admit(devices: number): boolean
  people?: number
}

/** How a page went. */
interface PageDone {
  /** The last one who was reached; undefined: that was everybody. */
  afterUser: string | undefined
  again: Placed[]
}

export function startPushPasses(deps: PushPassesDeps): Stoppable {
  const { store, redis, keys, cut, afterMs, subscribers, admit, metrics, log } = deps
  const { lookEveryMs = LOOK_EVERY_MS, claimMs = CLAIM_MS, people = PEOPLE } = deps
  const hosts = createPushHosts(Math.random, BOUNDS)
  const send = createPushPost(deps, hosts)
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

  /** In the order of names, until all are reached or the time is over: then never in the midst of somebody's devices. */
  async function sendAll(pushes: readonly Placed[], after: string, upTo: string | undefined): Promise<PageDone> {
    const running = new Set<Promise<void>>()
    const again: Placed[] = []
    const failures: unknown[] = []
    const began = performance.now()
    let reached = after
    let isWhole = true

    /** Waits until the host has room. @returns false when it is left alone now */
    async function place(host: string): Promise<boolean> {
      while (hosts.enter(host, Date.now()) > 0) {
        if (running.size === 0 || hosts.isShut(host, Date.now())) return false
        await Promise.race(running)
      }
      return true
    }

    async function sendOne(push: Placed): Promise<void> {
      const at = performance.now()
      const fate = await send(push)
      if (fate === 'pushed') metrics.done(performance.now() - at)
      else if (typeof fate === 'object') again.push(push)
      else metrics.failed(fate)
    }

    for (const push of pushes) {
      const isOver = looker.isStopped || failures.length > 0 || performance.now() - began > PAGE_MS
      if (isOver && push.user !== reached) {
        isWhole = false
        break
      }
      reached = push.user
      if (!(await place(hostOf(push)))) {
        again.push(push)
        continue
      }
      const one = sendOne(push)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => running.delete(one))
      running.add(one)
    }
    await Promise.all(running)
    if (failures.length > 0) throw failures[0]
    return { afterUser: isWhole ? upTo : reached, again }
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
    const { afterUser, again } = await sendAll(
      due.map((one) => toPush(one, pass, target, page)),
      after,
      page.upTo,
    )
    const isNoted = again.length === 0 || admit(again.length)
    if (again.length > 0) metrics.failed(isNoted ? 'retry' : 'dropped', again.length)
    const written = await advancePass(store, pass, {
      passSeq: pass.passSeq || target.seq,
      afterUser,
      nextDueAt: afterUser === undefined ? nextPassAt() : new Date(),
      again: isNoted ? again : [],
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
