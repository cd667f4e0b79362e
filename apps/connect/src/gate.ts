/** How much a client may say: bad frames, and frames at all. */
import { Close } from '@tidings/protocol'
import type { Session } from './session.js'

const BAD_FRAMES = 3
const BAD_FRAMES_WITHIN_MS = 60_000
const FRAMES_PER_S = 20
const FRAMES_BURST = 40
const BYTES_PER_S = 64 * 1024
const BYTES_BURST = 2 * BYTES_PER_S

/** One per socket that has said something. Two buckets that fill steadily, of frames and of bytes. */
export class Gate {
  #frames = FRAMES_BURST
  #bytes = BYTES_BURST
  #at = performance.now()
  /** When bad frames came. */
  #faults: number[] | undefined

  /** @param limited false on trusted networks: then only bad frames count */
  constructor(private readonly limited: boolean) {}

  /** May this frame pass? If not, the session is closed with 4429. */
  admits(session: Session, bytes: number): boolean {
    if (!this.limited) return true
    const now = performance.now()
    const seconds = (now - this.#at) / 1_000
    this.#at = now
    this.#frames = Math.min(FRAMES_BURST, this.#frames + seconds * FRAMES_PER_S)
    this.#bytes = Math.min(BYTES_BURST, this.#bytes + seconds * BYTES_PER_S)
    if (this.#frames >= 1 && this.#bytes >= bytes) {
      this.#frames -= 1
      this.#bytes -= bytes
      return true
    }
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
