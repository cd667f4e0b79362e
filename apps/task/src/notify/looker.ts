/** Looks again and again for what is due, once at a time, and ends in time when the worker stops. */
import { AppError } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'

/** Requests that run when the worker stops may take this long. */
const FINISH_MS = 1_500

export interface Looker extends Stoppable {
  readonly isStopped: boolean
  /** Logs a failure; that a store is away is said by the store itself. */
  tell(error: unknown): void
}

/** @param deps.everyMs between the beginnings of looks; one that takes longer puts off the next */
export function startLooker(deps: {
  /** What it claims and does not do comes back by itself. */
  look(): Promise<void>
  everyMs: number
  /** Waits for the work that looks have begun and not waited for. */
  rest?(): Promise<unknown>
  /** Ends the requests that run. */
  cut(): void
  /** What does not work when a look fails. */
  trouble: string
  log: Logger
}): Looker {
  const { look, everyMs, rest, cut, trouble, log } = deps
  let isStopped = false
  let looking: Promise<void> | undefined

  function tell(error: unknown): void {
    if (!(error instanceof AppError)) log.error({ err: error }, trouble)
  }

  const timer = setInterval(() => {
    looking ??= look()
      .catch(tell)
      .finally(() => {
        looking = undefined
      })
  }, everyMs)

  return {
    get isStopped() {
      return isStopped
    },
    tell,
    async stop() {
      isStopped = true
      clearInterval(timer)
      const later = setTimeout(cut, FINISH_MS)
      await looking
      await rest?.()
      clearTimeout(later)
    },
  }
}
