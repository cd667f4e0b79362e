/** How long the next call waits, so that calls that follow each other carry more and cost less for each item. */
import { pause } from './backoff.js'

export interface Pace {
  /** Milliseconds by which each item of a call holds up the next call. */
  perItemMs: number
  /** The longest that a call is held up, in milliseconds. */
  mostMs: number
}

/** For what each opening session asks of others: where thousands come back at once, an opening costs mostly its calls. */
export const OPENING_PACE: Pace = { perItemMs: 20, mostMs: 200 }

/** Given to each abort: without one Node makes an error with a stack every time, also for what was aborted before. */
const HURRIED = 'nothing more is waited for'

/**
 * Items that come more seldom than one in `perItemMs` go at once, or shortly after the one before. Where they come faster, each call gathers
 * more than the one before, until calls are `mostMs` apart or carry `enough`.
 */
export class Pacer {
  #until = 0
  #waiting: AbortController | undefined

  /**
   * @param enough so many items wait for nothing
   * @param now a clock in milliseconds that never goes back
   */
  constructor(
    private readonly pace: Pace,
    private readonly enough: number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** @returns milliseconds that a call with so many items should still wait; 0 when it may go */
  waitMs(items: number): number {
    return items >= this.enough ? 0 : Math.max(0, this.#until - this.now())
  }

  /** Resolves when a call may go, and no later than `more` or `hurry` say. One waits at a time. */
  async wait(items: number): Promise<void> {
    const ms = this.waitMs(items)
    if (ms === 0) return
    this.#waiting = new AbortController()
    await pause(ms, this.#waiting.signal)
    this.#waiting = undefined
  }

  /** So many items wait by now. */
  more(items: number): void {
    if (items >= this.enough) this.hurry()
  }

  /** Nothing more is waited for: what there is goes. */
  hurry(): void {
    this.#waiting?.abort(HURRIED)
  }

  /** A call with so many items goes now. */
  began(items: number): void {
    this.#until = this.now() + Math.min(this.pace.mostMs, items * this.pace.perItemMs)
  }
}
