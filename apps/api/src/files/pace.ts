/** How fast an upload must come: whoever sends next to nothing would keep others out of the few that may run at once. */
import type { IncomingMessage } from 'node:http'
import { AppError } from '@tidings/protocol'

/** Times are in milliseconds. */
export interface PaceLimits {
  /** How long all of it may take. */
  uploadMs: number
  /** How long a sender may be waited for in any case, */
  graceMs: number
  /** and beyond that as long as so many bytes came for each second of waiting. */
  bytesPerS: number
  /** How often it is looked at. */
  checkEveryMs: number
}

export interface Pace {
  /** Never resolves. Rejects with AppError `request_timeout`. */
  tooSlow: Promise<never>
  stop(): void
}

/** Watches what comes of a body from now on. While bytes wait for us, it is not the sender who is slow. */
export function watchPace(raw: IncomingMessage, limits: PaceLimits): Pace {
  const { uploadMs, graceMs, bytesPerS, checkEveryMs } = limits
  const { socket } = raw
  const before = socket.bytesRead
  const began = performance.now()
  let looked = began
  let waitedMs = 0
  let check: NodeJS.Timeout | undefined
  const tooSlow = new Promise<never>((_resolve, reject) => {
    check = setInterval(() => {
      if (raw.complete) return
      const at = performance.now()
      if (raw.readableLength === 0) waitedMs += at - looked
      looked = at
      const earnedMs = ((socket.bytesRead - before) / bytesPerS) * 1_000
      if (at - began <= uploadMs && waitedMs <= graceMs + earnedMs) return
      reject(new AppError('request_timeout', 'The upload comes too slowly. Send it over a better connection.'))
    }, checkEveryMs)
    check.unref()
  })
  return { tooSlow, stop: () => clearInterval(check) }
}
