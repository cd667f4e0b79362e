/** Up to when a node has looked at the changes of each partition. Pure. */

/** Looked at again each time: the time that passed is measured here, and appends are dated there. */
export const OVERLAP_MS = 2_000
/** How far back from the start the first look goes. */
const FIRST_LOOK_MS = 60_000

interface Look {
  /** Redis' clock; undefined before the first look. */
  redisMs: number | undefined
  /** Ours, which only rises. */
  at: number
}

export class Marks {
  #looks: Look[]
  #next: Look[]

  /** @param now our clock at the start of the node, in milliseconds */
  constructor(partitions: number, now: number) {
    this.#looks = Array.from({ length: partitions }, () => ({ redisMs: undefined, at: now - FIRST_LOOK_MS }))
    this.#next = [...this.#looks]
  }

  /** @returns Redis' time at the last look, if there was one, and how long ago that was */
  since(partition: number, now: number): { redisMs: number | undefined; elapsedMs: number } {
    const { redisMs, at } = this.#looks[partition]!
    return { redisMs, elapsedMs: now - at }
  }

  /** Redis has answered. @param asked our clock before it was asked */
  looked(partition: number, redisMs: number, asked: number): void {
    this.#next[partition] = { redisMs, at: asked }
  }

  /** All that was found has been dealt with. Without it the next look begins at the same place. */
  done(): void {
    this.#looks = [...this.#next]
  }
}
