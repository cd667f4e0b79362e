/** An endpoint that fails again and again is left alone for a while, then tried with one delivery. Pure: it reads no clock. */
import { backoffMs } from '@tidings/service'

/** Failures in a row that open it. */
const FAILURES = 5
const OPEN = { firstMs: 1_000, maxMs: 60_000 }

export interface Breaker {
  /** How many may be sent now. */
  allows(now: number, most: number): number
  succeeded(): void
  failed(now: number): void
  /** Until when nothing is sent; 0 while it is closed. */
  readonly openUntil: number
}

/** @param random for tests */
export function createBreaker(random = Math.random): Breaker {
  let failures = 0
  let openUntil = 0
  return {
    allows(now, most) {
      if (failures < FAILURES) return most
      return now < openUntil ? 0 : Math.min(1, most)
    },
    succeeded() {
      failures = 0
      openUntil = 0
    },
    failed(now) {
      // What was sent beside the one that opened it tells nothing new.
      if (failures >= FAILURES && now < openUntil) return
      failures++
      if (failures >= FAILURES) openUntil = now + backoffMs(failures - FAILURES, OPEN, random)
    },
    get openUntil() {
      return openUntil
    },
  }
}
