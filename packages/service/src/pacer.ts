/** How long the next call waits, so that calls that follow each other carry more and cost less for each item. */

export interface PaceBounds {
  /** Milliseconds by which each item of a call holds up the next call. */
  perItemMs: number
  /** The longest that a call is held up, in milliseconds. */
  mostMs: number
  /** So many items wait for nothing. */
  enough: number
}

/**
 * Items that come more seldom than one in `perItemMs` go at once, or shortly after the one before. Where they come faster, each call gathers
 * more than the one before, until calls are `mostMs` apart or carry `enough`.
 */
export class Pacer {
  #until = 0

  /** @param now a clock in milliseconds that never goes back */
  constructor(
    private readonly bounds: PaceBounds,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** @returns milliseconds that a call with so many items should still wait; 0 when it may go */
  waitMs(items: number): number {
    return items >= this.bounds.enough ? 0 : Math.max(0, this.#until - this.now())
  }

  /** A call with so many items goes now. */
  began(items: number): void {
    this.#until = this.now() + Math.min(this.bounds.mostMs, items * this.bounds.perItemMs)
  }
}
