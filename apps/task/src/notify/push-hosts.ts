/**
 * How many pushes may be on their way to each push service: one that is slow or dead holds up nobody but the devices that use it. Pure: it
 * reads no clock.
 */
import { LRUCache } from 'lru-cache'
import { type Breaker, createBreaker } from './breaker.js'

/** Pushes at the same time. */
export interface PushBounds {
  inAll: number
  perHost: number
}

/** Of those that are due to a device each. */
export const IN_ALL = 256
const BOUNDS: PushBounds = { inAll: IN_ALL, perHost: 64 }
/** A host that has as many as it may is asked for another one after that. */
const FULL_MS = 1_000
/** Hosts whose failures are remembered. */
const MOST_HOSTS = 10_000

export interface PushHosts {
  /** Takes a place. @returns 0, or for how many milliseconds the host is to be left alone: then no place was taken */
  enter(host: string, now: number): number
  /** Is it left alone now, after failures? */
  isShut(host: string, now: number): boolean
  /** Gives the place back. @param well whether the host answered, and not with an error of its own */
  leave(host: string, well: boolean, now: number): void
}

/** @param random for tests */
export function createPushHosts(random = Math.random, { inAll, perHost } = BOUNDS): PushHosts {
  const running = new Map<string, number>()
  const breakers = new LRUCache<string, Breaker>({ max: MOST_HOSTS })

  /** The more hosts are waited for, the less each may have: when all of them are slow, there is room for one more. */
  function shareOf(host: string): number {
    const hosts = running.size + (running.has(host) ? 0 : 1)
    return Math.max(1, Math.min(perHost, Math.floor(inAll / (hosts + 1))))
  }

  return {
    enter(host, now) {
      const mine = running.get(host) ?? 0
      const breaker = breakers.get(host)
      // Behind one that has been open, one at a time.
      const most = breaker && breaker.openUntil > 0 ? 1 : shareOf(host)
      const free = breaker ? breaker.allows(now, most - mine) : most - mine
      if (free <= 0) return Math.max(FULL_MS, (breaker?.openUntil ?? 0) - now)
      running.set(host, mine + 1)
      return 0
    },
    isShut: (host, now) => (breakers.get(host)?.openUntil ?? 0) > now,
    leave(host, well, now) {
      const left = running.get(host)! - 1
      if (left > 0) running.set(host, left)
      else running.delete(host)
      if (well) breakers.delete(host)
      else {
        const breaker = breakers.get(host) ?? createBreaker(random)
        breakers.set(host, breaker)
        breaker.failed(now)
      }
    },
  }
}
