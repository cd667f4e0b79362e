/** Forgets sessions that ran out a while ago, so that the tables do not grow for ever. */
import { AppError } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import { forgetSessions, type Store } from '@tidings/store'

const EVERY_MS = 10 * 60_000
/** Kept after its end for this long, for whoever looks into what happened. */
const KEPT_MS = 7 * 24 * 60 * 60_000

export function startForgetting(store: Store, log: Logger): Stoppable {
  const timer = setInterval(() => {
    forgetSessions(store, new Date(Date.now() - KEPT_MS)).catch((error: unknown) => {
      // Away is said by the store itself, and the next time does it.
      if (!(error instanceof AppError)) log.error({ err: error }, 'old sessions cannot be forgotten')
    })
  }, EVERY_MS)
  return {
    async stop() {
      clearInterval(timer)
    },
  }
}
