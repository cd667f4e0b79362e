/** How much a client may say: bad frames, and frames at all. */
import { Close } from '@tidings/protocol'
import type { Session } from './session.js'

const BAD_FRAMES = 3
const BAD_FRAMES_WITHIN_MS = 60_000
/** A client says them as often as something is shown. */
const ANSWERS = new Set<unknown>(['ack', 'read'])
const ANSWERS_PER_S = 250
const ANSWERS_BURST = 500
/** What is shown pays for them: an ack and a read of each entry, of the newest 4,000 that were not answered yet. */
const MOST_PAID = 8_000
/**
 * Sends are counted by their user's own limit, which may be any. It answers what is beyond, so that a client that wants to say too
 * much at once learns when to go on; only who does not listen to it comes to an end here.
 */
const REFUSED_PER_S = 250
const REFUSED_BURST = 1_000
/** All others, and what is no frame at all. */
const FRAMES_PER_S = 20
const FRAMES_BURST = 40
const BYTES_PER_S = 1024 * 1024
const BYTES_BURST = 4 * BYTES_PER_S

/** Stands for the op of a send that its user's limit has refused. No frame can say it. */
export const REFUSED_SEND = Symbol('a send that was refused')

/** One per socket that has said something. Buckets that fill steadily, of frames and of bytes. */
export class Gate {
  #frames = FRAMES_BURST
  #answers = ANSWERS_BURST
  #refused = REFUSED_BURST
  #bytes = BYTES_BURST
  #at = performance.now()
  /** Acks and reads that are paid for, by the frames that were shown up to this many. */
  #paid = 0
  #paidUpTo = 0
  /** When bad frames came. */
  #faults: number[] | undefined

  /** @param limited false on trusted networks: then only bad frames count */
  constructor(private readonly limited: boolean) {}

  /** May so much be looked at? If not, the session is closed with 4429. */
  admitsBytes(session: Session, bytes: number): boolean {
    if (!this.limited) return true
    const now = performance.now()
    const seconds = (now - this.#at) / 1_000
    this.#at = now
    this.#frames = Math.min(FRAMES_BURST, this.#frames + seconds * FRAMES_PER_S)
    this.#answers = Math.min(ANSWERS_BURST, this.#answers + seconds * ANSWERS_PER_S)
    this.#refused = Math.min(REFUSED_BURST, this.#refused + seconds * REFUSED_PER_S)
    this.#bytes = Math.min(BYTES_BURST, this.#bytes + seconds * BYTES_PER_S)
    if (this.#bytes < bytes) return this.#refuse(session)
    this.#bytes -= bytes
    return true
  }

  /**
   * May a frame of this op pass, whose size was admitted? If not, the session is closed with 4429.
   * @param op as the client said it, or REFUSED_SEND: may one more refused send be answered?
   */
  admits(session: Session, op: unknown): boolean {
    if (!this.limited || op === 'send') return true
    if (op === REFUSED_SEND) {
      if (this.#refused < 1) return this.#refuse(session)
      this.#refused -= 1
    } else if (!ANSWERS.has(op)) {
      if (this.#frames < 1) return this.#refuse(session)
      this.#frames -= 1
    } else if (!this.#isPaid(session)) {
      if (this.#answers < 1) return this.#refuse(session)
      this.#answers -= 1
    }
    return true
  }

  /** However long a backlog is: whoever acknowledges and reads each entry of it says no more than was asked for. */
  #isPaid(session: Session): boolean {
    this.#paid = Math.min(MOST_PAID, this.#paid + 2 * (session.shownCount - this.#paidUpTo))
    this.#paidUpTo = session.shownCount
    if (this.#paid === 0) return false
    this.#paid -= 1
    return true
  }

  #refuse(session: Session): false {
    session.tell({ op: 'error', code: 'rate_limited', message: 'Too many frames.' })
    session.close(Close.TooManyFrames, 'too many frames')
    return false
  }

  /** Counts a bad frame; the third within a minute closes the session with 4400. */
  bad(session: Session): void {
    const now = performance.now()
    this.#faults = [...(this.#faults ?? []).filter((at) => at >= now - BAD_FRAMES_WITHIN_MS), now]
    if (this.#faults.length >= BAD_FRAMES) session.close(Close.BadFrames, 'too many bad frames')
  }
}
