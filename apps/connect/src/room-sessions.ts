/**
 * The sessions of one room on this node. Nearly all of them stand at the same seq of it: those are in step, share one position, and the
 * next entry costs one comparison for all of them and a write for each. Whoever stands elsewhere (opening, catching up, reading too
 * slowly) is apart, with a flow of its own, until it stands where the others do.
 */
import { type Flushable, flushSoon } from './flush.js'
import type { Frame } from './sequencer.js'
import { PACE_BYTES, type Session } from './session.js'
import type { SharedPosition } from './standing.js'

export class RoomSessions implements SharedPosition, Flushable, Iterable<Session> {
  /** Everything up to it was shown to those in step, or is among the frames on their way to all of them. */
  position = 0
  readonly #inStep = new Set<Session>()
  readonly #apart = new Set<Session>()
  #frames: Frame[] = []
  #bytes = 0

  constructor(private readonly room: string) {}

  get size(): number {
    return this.#inStep.size + this.#apart.size
  }

  /** Those with a position of their own. */
  get apart(): Iterable<Session> {
    return this.#apart
  }

  *[Symbol.iterator](): Iterator<Session> {
    yield* this.#inStep
    yield* this.#apart
  }

  add(session: Session): void {
    if (!this.#inStep.has(session)) this.#apart.add(session)
  }

  remove(session: Session): void {
    this.#inStep.delete(session)
    this.#apart.delete(session)
  }

  /**
   * An entry for those in step.
   * @returns false when something before it is missing: then each must see for itself
   */
  push(seq: number, frame: Frame): boolean {
    if (this.#inStep.size === 0 || seq <= this.position) return true
    if (seq !== this.position + 1) return false
    this.position = seq
    if (this.#frames.push(frame) === 1) flushSoon(this)
    this.#bytes += frame.length
    if (this.#bytes >= PACE_BYTES) this.flush()
    return true
  }

  /** A session that keeps pace and has been shown all that it knows of goes on with the others, if they stand at the same seq. */
  fallIn(session: Session): void {
    if (session.congested) return
    const position = session.restingAt(this.room)
    if (position === undefined) return
    // What is on its way to the others is not for somebody who has it already.
    this.flush()
    if (this.#inStep.size === 0) this.position = position
    if (position !== this.position) return
    this.#apart.delete(session)
    this.#inStep.add(session)
    session.share(this.room, this)
  }

  /** The caller gives the session a flow of its own, which begins at this position. */
  release(session: Session): void {
    this.flush()
    if (this.#inStep.delete(session)) this.#apart.add(session)
  }

  /** Something comes that is not the same for everybody. */
  disband(): void {
    for (const session of this.#inStep) session.flow(this.room)
  }

  /**
   * Sends what is on its way. Who does not take it at once is apart then, and comes back with the next entry unless too much waits for it:
   * how much more it gets depends on how it reads.
   */
  flush(): void {
    const frames = this.#frames
    if (frames.length === 0) return
    this.#frames = []
    this.#bytes = 0
    // Nobody is released within but by the line itself: the frames are on their way to all who are in step now.
    for (const session of this.#inStep) if (session.send(frames) === 'buffered') session.flow(this.room)
  }
}
