/** How much a client may say: bad frames, and frames at all. */
import { Close } from '@tidings/protocol'
import type { Session } from './session.js'

const BAD_FRAMES = 3
const BAD_FRAMES_WITHIN_MS = 60_000
const FRAMES_PER_S = 20
const FRAMES_BURST = 40
const BYTES_PER_S = 64 * 1024
const BYTES_BURST = 2 * BYTES_PER_S

/** A bucket of tokens that fills steadily. */
interface Bucket {
  left: number
  at: number
}

export interface Gate {
  /** May this frame pass? If not, the session is closed with 4429. */
  admits(session: Session, bytes: number): boolean
  /** Counts a bad frame; the third within a minute closes the session with 4400. */
  bad(session: Session): void
}

function take(bucket: Bucket, amount: number, perS: number, burst: number, now: number): boolean {
  bucket.left = Math.min(burst, bucket.left + ((now - bucket.at) / 1_000) * perS)
  bucket.at = now
  if (bucket.left < amount) return false
  bucket.left -= amount
  return true
}

/** One per socket. @param limited false on trusted networks: then only bad frames count */
export function createGate(limited: boolean): Gate {
  const now = performance.now()
  const frames: Bucket = { left: FRAMES_BURST, at: now }
  const bytes: Bucket = { left: BYTES_BURST, at: now }
  const faults: number[] = []
  return {
    admits(session, size) {
      if (!limited) return true
      const at = performance.now()
      if (take(frames, 1, FRAMES_PER_S, FRAMES_BURST, at) && take(bytes, size, BYTES_PER_S, BYTES_BURST, at))
        return true
      session.tell({ op: 'error', code: 'rate_limited', message: 'Too many frames.' })
      session.close(Close.TooManyFrames, 'too many frames')
      return false
    },
    bad(session) {
      const at = performance.now()
      faults.push(at)
      while (faults[0]! < at - BAD_FRAMES_WITHIN_MS) faults.shift()
      if (faults.length >= BAD_FRAMES) session.close(Close.BadFrames, 'too many bad frames')
    },
  }
}
