/**
 * The order of one conversation for one session, as a pure state machine: what may be shown now, what must wait, what is missing.
 * It does no I/O; deliver.ts offers what is pushed, repair.ts offers what is read.
 *
 * A flow stands at `position`: everything up to it was shown. `known` is the highest seq that is known to exist. While
 * `reading`, the log is being read and pushes are only remembered; in between (`waiting`) a hole may still be filled by a late push.
 */

/** Frames that may wait for an earlier one; what comes beyond is read from the log later. */
const MAX_HELD = 64

export type FlowState = 'live' | 'waiting' | 'reading'

/** Frame of an entry, ready to be sent. */
export type Frame = string | Uint8Array

export class Flow {
  position: number
  known: number
  state: FlowState = 'live'
  /** The last seq that this reader may see. */
  #end = Number.POSITIVE_INFINITY
  #held: Map<number, Frame> | undefined

  /** @param position the newest seq that the session has been shown, or need not be */
  constructor(position: number) {
    this.position = position
    this.known = position
  }

  /**
   * A push of one entry.
   * @param show called for each frame that is next, in order
   * @returns true when a hole was found and nobody is on it yet: repair it soon
   */
  push(seq: number, frame: Frame, show: (frame: Frame) => void): boolean {
    if (seq <= this.position || seq > this.#end) return false
    if (seq > this.known) this.known = seq
    if (seq === this.position + 1 && this.state !== 'reading') {
      this.position = seq
      show(frame)
      this.#showHeld(show)
      if (this.position === this.known) this.state = 'live'
      return false
    }
    this.#held ??= new Map()
    if (this.#held.size < MAX_HELD) this.#held.set(seq, frame)
    if (this.state !== 'live') return false
    this.state = 'waiting'
    return true
  }

  /** Somebody says that the conversation reaches this far. @returns true when it is further than shown and nobody is on it yet */
  raise(head: number): boolean {
    if (head > this.known) this.known = Math.min(head, this.#end)
    if (this.position >= this.known || this.state !== 'live') return false
    this.state = 'waiting'
    return true
  }

  /** What follows this seq is not for this reader any more, whether it was pushed already or is read later. */
  endAt(seq: number): void {
    this.#end = Math.max(Math.min(seq, this.#end), this.position)
    this.known = Math.min(this.known, this.#end)
    for (const held of this.#held?.keys() ?? []) if (held > this.#end) this.#held?.delete(held)
  }

  /** Everything that is known was shown, and what comes next is for this reader too. */
  get resting(): boolean {
    return (
      this.state === 'live' && this.position === this.known && !this.#held && this.#end === Number.POSITIVE_INFINITY
    )
  }

  /** All that this reader may ever see was shown. */
  get over(): boolean {
    return this.position >= this.#end
  }

  /** From now on what is missing is read; pushes only wait. @returns false when nothing is missing, or somebody is reading already */
  startReading(): boolean {
    if (this.state === 'reading') return false
    if (this.position >= this.known) {
      this.state = 'live'
      return false
    }
    this.state = 'reading'
    return true
  }

  /** An entry that was read. Old ones are ignored; one that is not the next shows that something before it is missing. */
  read(seq: number, frame: () => Frame, show: (frame: Frame) => void): 'shown' | 'old' | 'hole' {
    if (seq <= this.position || seq > this.#end) return 'old'
    if (seq > this.known) this.known = seq
    if (seq !== this.position + 1) return 'hole'
    this.position = seq
    this.#held?.delete(seq)
    show(frame())
    return 'shown'
  }

  /** Seqs up to `to` hold nothing (a void), or cannot be had now (a gap): go on behind them. */
  skipTo(to: number): void {
    if (to <= this.position) return
    this.position = Math.min(to, this.#end)
    if (to > this.known) this.known = to
  }

  /** The reader has nothing more. @returns true when everything known was shown and pushes are taken as they come again */
  finishReading(show: (frame: Frame) => void): boolean {
    this.#showHeld(show)
    this.#forgetOld()
    if (this.position < this.known) return false
    this.state = 'live'
    return true
  }

  /** The lowest seq above the position that is at hand, or undefined. */
  nextHeld(): number | undefined {
    if (!this.#held || this.#held.size === 0) return undefined
    return Math.min(...this.#held.keys())
  }

  #showHeld(show: (frame: Frame) => void): void {
    if (!this.#held) return
    for (
      let frame = this.#held.get(this.position + 1);
      frame !== undefined;
      frame = this.#held.get(this.position + 1)
    ) {
      this.position++
      this.#held.delete(this.position)
      show(frame)
    }
    if (this.#held.size === 0) this.#held = undefined
  }

  #forgetOld(): void {
    if (!this.#held) return
    for (const seq of this.#held.keys()) if (seq <= this.position) this.#held.delete(seq)
    if (this.#held.size === 0) this.#held = undefined
  }
}
