/** How much a client may say: bad frames, and frames at all. */
import { Close } from '@tidings/protocol'
import type { Session } from './session.js'

const BAD_FRAMES = 3
const BAD_FRAMES_WITHIN_MS = 60_000
/** Ops that a client says as often as somebody writes or something is shown. How many messages are taken is the user's own limit. */
const BUSY_OPS = new Set(['send', 'ack', 'read'])
const BUSY_PER_S = 250
const BUSY_BURST = 500
/** All others, and what is no frame at all. */
const FRAMES_PER_S = 20
const FRAMES_BURST = 40
const BYTES_PER_S = 1024 * 1024
const BYTES_BURST = 4 * BYTES_PER_S

/** One per socket that has said something. Buckets that fill steadily, of frames and of bytes. */
export class Gate {
  #frames = FRAMES_BURST
  #busy = BUSY_BURST
  #bytes = BYTES_BURST
  #at = performance.now()
  /** Acks and reads that were paid for by what was shown. */
  #answers = 0
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
    this.#busy = Math.min(BUSY_BURST, this.#busy + seconds * BUSY_PER_S)
    this.#bytes = Math.min(BYTES_BURST, this.#bytes + seconds * BYTES_PER_S)
    if (this.#bytes < bytes) return this.#refuse(session)
    this.#bytes -= bytes
    return true
  }

  /** May this frame pass, whose size was admitted? If not, the session is closed with 4429. */
  admits(session: Session, op: unknown): boolean {
    if (!this.limited) return true
    if (!BUSY_OPS.has(op as string)) {
      if (this.#frames < 1) return this.#refuse(session)
      this.#frames -= 1
    } else if (op !== 'send' && this.#answers < 2 * session.shownCount) {
      // However long a backlog is: whoever acknowledges and reads each entry of it says no more than was asked for.
      this.#answers += 1
    } else {
      if (this.#busy < 1) return this.#refuse(session)
      this.#busy -= 1
    }
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
