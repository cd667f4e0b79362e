/** Signs of life: pings spread over the sessions, and the end of those that are silent, or whose token has ended. */
import { Close } from '@tidings/protocol'
import type { Stoppable } from '@tidings/service'
import { SESSION_SLICES, type Sessions } from './sessions.js'

const SILENT_FOR_PINGS = 3
const TOKEN_CHECK_MS = 2_000

/** How long a session may be silent. */
export const silenceMs = (heartbeatMs: number): number => SILENT_FOR_PINGS * heartbeatMs

export function startHeartbeat(sessions: Sessions, heartbeatMs: number): Stoppable {
  const pings = setInterval(() => {
    const silentSince = performance.now() - silenceMs(heartbeatMs)
    for (const session of sessions.nextSlice()) {
      if (session.lastHeard < silentSince) session.close(Close.GoingAway, 'no answer to pings')
      else session.socket.ping()
    }
  }, heartbeatMs / SESSION_SLICES)
  const tokens = setInterval(() => {
    const now = Date.now()
    for (const session of sessions.all()) {
      if (session.identity.expiresAt <= now) session.close(Close.Unauthenticated, 'token expired')
    }
  }, TOKEN_CHECK_MS)
  return {
    async stop() {
      clearInterval(pings)
      clearInterval(tokens)
    },
  }
}
