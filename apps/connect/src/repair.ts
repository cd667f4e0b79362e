/**
 * Showing what a flow lacks, as a pure state machine: it says what to do next, is given what was read, and shows it in order. It does
 * no I/O; catch-up.ts does it. The cutover to live delivery is the moment when nothing known is left to read.
 */
import { type Entry, messageFrame, seenNow } from '@tidings/protocol'
import { backoffMs } from '@tidings/service'
import type { Flow, Frame } from './sequencer.js'

/** How long a hole may resist before it becomes a gap. */
const GAP_AFTER_MS = 2_000
const RETRY = { firstMs: 50, maxMs: 500 }
/** A client that takes gaps gets this much of a longer backlog. */
const NEWEST_OF_GAP = 100
const LONGEST_WITHOUT_GAP = 500
/** No backlog is as long as this: most of it is the void of a leap, which is quickly read. */
const ONLY_A_LEAP = 100_000_000

export interface Page {
  entries: readonly Entry[]
  /** Seqs that hold nothing, ascending. */
  voids: readonly { from: number; to: number }[]
}

/** Whom a repair shows things to. */
export interface Reader {
  readonly wantsGaps: boolean
  show(frame: Frame): void
  /** Nothing was ever there. */
  tellVoid(from: number, to: number): void
  /** Entries may be there, but cannot be had now, or shall be paged by the client. */
  tellGap(from: number, to: number): void
}

export type NextStep =
  /** Everything known was shown: pushes are taken as they come again. */
  | 'live'
  /** Read a page after the flow's position. */
  | 'read'
  /** Find out whether the log answers at all, and tell `resists`. */
  | 'ask'
  /** Wait this many milliseconds, then read. */
  | { waitMs: number }

export class Repair {
  /** Entries that were shown. */
  shown = 0
  #page: Page | undefined
  #nextEntry = 0
  #nextVoid = 0
  #positionBefore: number
  #stuckSince: number | undefined
  #failures = 0

  /**
   * @param flow one that is reading
   * @param random chance, for the waits
   */
  constructor(
    private readonly flow: Flow,
    private readonly reader: Reader,
    private readonly random: () => number = Math.random,
  ) {
    const distance = flow.known - flow.position
    if (reader.wantsGaps && distance > LONGEST_WITHOUT_GAP && distance < ONLY_A_LEAP)
      this.#gap(flow.known - NEWEST_OF_GAP)
    this.#positionBefore = flow.position
  }

  /** What was read after the flow's position; undefined when a source did not answer. Then `showNext` until it is false. */
  take(page: Page | undefined): void {
    this.#page = page
    this.#nextEntry = 0
    this.#nextVoid = 0
    this.#positionBefore = this.flow.position
    if (page) this.#failures = 0
  }

  /** Shows the next entry of the page, and says where seqs are void. @returns false when the page has nothing more that is next */
  showNext(): boolean {
    if (!this.#page) return false
    this.#skipVoids(this.#page)
    const entry = this.#page.entries[this.#nextEntry]
    if (!entry) return false
    const result = this.flow.read(
      entry.seq,
      () => messageFrame(seenNow(entry)),
      (frame) => this.reader.show(frame),
    )
    if (result === 'hole') return false
    if (result === 'shown') this.shown++
    this.#nextEntry++
    return true
  }

  #skipVoids({ voids }: Page): void {
    for (
      let gone = voids[this.#nextVoid];
      gone && gone.from <= this.flow.position + 1;
      gone = voids[++this.#nextVoid]
    ) {
      if (gone.to <= this.flow.position) continue
      this.reader.tellVoid(this.flow.position + 1, gone.to)
      this.flow.skipTo(gone.to)
    }
  }

  /** Nothing could be read just now, for a reason that says nothing about what is there. */
  later(): NextStep {
    return this.#wait()
  }

  /** What to do when the page is through. @param now milliseconds, of a clock that only rises */
  next(now: number): NextStep {
    if (this.#finished()) return 'live'
    if (this.flow.position > this.#positionBefore) {
      this.#stuckSince = undefined
      return 'read'
    }
    this.#stuckSince ??= now
    return now - this.#stuckSince >= GAP_AFTER_MS ? 'ask' : this.#wait()
  }

  /**
   * Nothing came for a while. While nobody answers, waiting is right; a gap is told when somebody answers and does not have it, or when
   * MySQL alone is away.
   */
  resists(logAnswers: boolean): NextStep {
    if (!logAnswers) return this.#wait()
    this.#gap(this.#beforeNextAtHand())
    this.#stuckSince = undefined
    return this.#finished() ? 'live' : 'read'
  }

  #finished(): boolean {
    return this.flow.finishReading((frame) => this.reader.show(frame))
  }

  #wait(): NextStep {
    return { waitMs: backoffMs(this.#failures++, RETRY, this.random) }
  }

  #gap(to: number): void {
    this.reader.tellGap(this.flow.position + 1, to)
    this.flow.skipTo(to)
  }

  #beforeNextAtHand(): number {
    const inPage = this.#page?.entries.find((entry) => entry.seq > this.flow.position)?.seq
    const next = Math.min(inPage ?? Number.POSITIVE_INFINITY, this.flow.nextHeld() ?? Number.POSITIVE_INFINITY)
    return Number.isFinite(next) ? next - 1 : this.flow.known
  }
}

/** Up to where a page covers every seq after `after`, as an entry or a void. */
export function coveredTo({ entries, voids }: Page, after: number): number {
  const spans = [...entries.map(({ seq }) => ({ from: seq, to: seq })), ...voids].sort((a, b) => a.from - b.from)
  let covered = after
  for (const { from, to } of spans) {
    if (from > covered + 1) break
    covered = Math.max(covered, to)
  }
  return covered
}
