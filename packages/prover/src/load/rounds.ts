/** What all senders have in common: one call after the other, each repeated as it is until it is answered. */
import { pause } from '../until.js'
import type { Chance } from './chance.js'

const WAIT = { firstMs: 50, mostMs: 1_000 }

export class Rounds {
  #stopping = false
  #givenUp = false
  #running: Promise<void> | undefined
  /** Calls on their way, also such as no round has made. */
  readonly #calls = new Set<Promise<void>>()

  constructor(private readonly chance: Chance) {}

  /** @param everyMs between two rounds, on average */
  start(everyMs: number, round: () => Promise<void>): void {
    this.#running = (async () => {
      while (!this.#stopping) {
        await pause(this.chance.between(0, everyMs * 2))
        if (!this.#stopping) await round()
      }
    })()
  }

  /** No new rounds; resolves when the last call is answered, or the time is up. */
  async finish(withinMs: number): Promise<void> {
    this.#stopping = true
    const timer = setTimeout(() => {
      this.#givenUp = true
    }, withinMs)
    await Promise.allSettled([this.#running, ...this.#calls])
    clearTimeout(timer)
  }

  /** @param attempt tells whether there is nothing more to be done */
  async untilAnswered(attempt: (n: number) => Promise<boolean>): Promise<void> {
    const call = this.#attempts(attempt)
    this.#calls.add(call)
    try {
      await call
    } finally {
      this.#calls.delete(call)
    }
  }

  async #attempts(attempt: (n: number) => Promise<boolean>): Promise<void> {
    for (let n = 0; !(await attempt(n)) && !this.#givenUp; n++)
      await pause(this.chance.between(10, Math.min(WAIT.firstMs * 2 ** n, WAIT.mostMs)))
  }
}

/** A good client comes again with all but a plain no. */
export const isAnswered = (outcome: { type: 'ok' } | { type: 'info' } | { type: 'fail'; again: boolean }): boolean =>
  outcome.type === 'ok' || (outcome.type === 'fail' && !outcome.again)
