/** Up to where a node has looked at the changes of each partition. Pure; in milliseconds of Redis' own clock. */

/** Changes of shortly before the last look are looked at again: clocks are set back a little now and then. */
const OVERLAP_MS = 2_000
/** How far back from the start the first look goes. */
const FIRST_LOOK_MS = 60_000

export class Marks {
  readonly #marks: number[]
  #newest: number[]
  /** The generation that each mark is of: scores are of one server's clock. */
  readonly #generations: (string | null | undefined)[] = []

  /** @param start Redis' time when the node started */
  constructor(partitions: number, start: number) {
    this.#marks = new Array<number>(partitions).fill(start - FIRST_LOOK_MS)
    this.#newest = [...this.#marks]
  }

  /**
   * Under which generation the partition is looked at now. Under another one than before, everything in its index is looked at once.
   * @param generation the partition's record
   */
  of(partition: number, generation: string | null): void {
    const known = this.#generations[partition]
    if (known !== undefined && known !== generation) this.#marks[partition] = 0
    this.#generations[partition] = generation
  }

  /** The least score to look at. A look begins with it. */
  from(partition: number): number {
    this.#newest[partition] = this.#marks[partition]!
    return this.#marks[partition]! - OVERLAP_MS
  }

  /** A change was found. */
  found(partition: number, score: number): void {
    this.#newest[partition] = Math.max(this.#newest[partition]!, score)
  }

  /** All that was found has been dealt with. Without it the next look begins at the same place. */
  done(): void {
    for (const [partition, newest] of this.#newest.entries()) this.#marks[partition] = newest
  }
}
