/**
 * A page of pushes of a pass. Promise: each is tried, or waits by itself from then on. At somebody whose push service is left alone while no
 * more may wait the page ends: the pass waits in front of that person, so nobody is passed over, and nobody pushed to again meanwhile. What
 * was tried and not taken, while no more may wait, is dropped.
 */
import type { StageMetrics } from '@tidings/service'
import type { PushHosts } from './push-hosts.js'
import { hostOf, type Placed, type PushFate } from './push-post.js'

/** A page that takes longer ends with whom it has reached. Well within the time for which it is lent, with the requests that then still run. */
const PAGE_MS = 5_000

/** How a page went. */
export interface PageDone {
  /** The last one who was reached; undefined: that was everybody. */
  afterUser: string | undefined
  /** They are admitted. */
  again: Placed[]
  /** The next one can neither be tried nor wait now. */
  isHeld: boolean
}

export interface Page {
  /** In the order of names: those of one person stand together. */
  pushes: readonly Placed[]
  /** Whom the pass had reached before. */
  after: string
  /** The last one of the page; undefined: there is nobody further. */
  upTo: string | undefined
  /** From then on whoever can neither be tried nor wait is passed over. */
  giveUpAt: number
}

/** @returns sends in the order of names, until all are reached, the time is over or the pass is to wait: never in the midst of somebody's devices */
export function createPageSender(deps: {
  hosts: PushHosts
  send(push: Placed): Promise<PushFate>
  /** May so many more devices wait for a push? They count from then on. */
  admit(devices: number): boolean
  metrics: StageMetrics
  isStopped(): boolean
}): (page: Page) => Promise<PageDone> {
  const { hosts, send, admit, metrics, isStopped } = deps
  return async ({ pushes, after, upTo, giveUpAt }) => {
    const running = new Set<Promise<void>>()
    const again: Placed[] = []
    const failures: unknown[] = []
    const began = performance.now()

    /** Waits until the host has room. @returns false when it is left alone now */
    async function place(host: string): Promise<boolean> {
      while (hosts.enter(host, Date.now()) > 0) {
        if (running.size === 0 || hosts.isShut(host, Date.now())) return false
        await Promise.race(running)
      }
      return true
    }

    /** They wait by themselves. @returns false when too many do already */
    function note(late: readonly Placed[]): boolean {
      if (late.length === 0) return true
      if (!admit(late.length)) return false
      metrics.failed('retry', late.length)
      again.push(...late)
      return true
    }

    /** Of those that nobody has tried. @returns false when the pass is to wait for them */
    function putOff(late: readonly Placed[]): boolean {
      if (note(late)) return true
      if (Date.now() < giveUpAt) return false
      metrics.failed('given_up', late.length)
      return true
    }

    async function sendOne(push: Placed): Promise<void> {
      const at = performance.now()
      const fate = await send(push)
      if (fate === 'pushed') metrics.done(performance.now() - at)
      else if (typeof fate === 'string') metrics.failed(fate)
      else if (!note([push])) metrics.failed('dropped')
    }

    /** @returns false when the pass is to wait for this person */
    async function sendTo(devices: readonly Placed[]): Promise<boolean> {
      const now = Date.now()
      const shut = devices.filter((push) => hosts.isShut(hostOf(push), now))
      // Before any is tried: while the pass waits, the others of this person are not pushed to again and again.
      if (!putOff(shut)) return false
      for (const push of devices) {
        if (shut.includes(push)) continue
        if (!(await place(hostOf(push)))) {
          if (!putOff([push])) return false
          continue
        }
        const one = sendOne(push)
          .catch((error: unknown) => void failures.push(error))
          .finally(() => running.delete(one))
        running.add(one)
      }
      return true
    }

    const done: PageDone = { afterUser: upTo, again, isHeld: false }
    let reached = after
    for (const devices of byPerson(pushes)) {
      const isOver = isStopped() || failures.length > 0 || performance.now() - began > PAGE_MS
      if (!isOver) done.isHeld = !(await sendTo(devices))
      if (isOver || done.isHeld) {
        done.afterUser = reached
        break
      }
      reached = devices[0]!.user
    }
    await Promise.all(running)
    if (failures.length > 0) throw failures[0]
    return done
  }
}

function byPerson(pushes: readonly Placed[]): Placed[][] {
  const people = new Map<string, Placed[]>()
  for (const push of pushes) people.set(push.user, [...(people.get(push.user) ?? []), push])
  return [...people.values()]
}
