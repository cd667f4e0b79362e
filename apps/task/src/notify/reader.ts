/** Something of MySQL's that a worker keeps in memory: read anew every second, and whenever what was known may be too old. */
import { AppError } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'

const READ_EVERY_MS = 1_000

export interface Reader extends Stoppable {
  /**
   * Resolves after a reading that began after this call.
   * @throws whatever the reading met: AppError `unavailable` when MySQL is away
   */
  again(): Promise<void>
}

/**
 * Resolves when it was read once, or could not be: then nothing is known until it can.
 * @param tidy what else is done every second, after a reading; `again` does not wait for it
 * @param what in the log
 */
export async function startReader(deps: {
  read(): Promise<void>
  tidy?(): Promise<void>
  what: string
  log: Logger
}): Promise<Reader> {
  const { read, tidy, what, log } = deps
  let ticking: Promise<void> | undefined
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined

  function start(): Promise<void> {
    running = read().finally(() => {
      running = undefined
    })
    return running
  }

  function again(): Promise<void> {
    if (next) return next
    if (!running) return start()
    // What runs may have begun too early; all who ask meanwhile share the one after it.
    next = running
      .catch(() => undefined)
      .then(() => {
        next = undefined
        return start()
      })
    return next
  }

  async function regularly(): Promise<void> {
    try {
      await (next ?? running ?? start())
      await tidy?.()
    } catch (error) {
      // Away is said by the store itself; what was known last counts.
      if (!(error instanceof AppError)) log.error({ err: error }, `${what} cannot be read`)
    }
  }

  function tick(): Promise<void> {
    ticking ??= regularly().finally(() => {
      ticking = undefined
    })
    return ticking
  }

  await tick()
  const timer = setInterval(() => void tick(), READ_EVERY_MS)
  return {
    again,
    async stop() {
      clearInterval(timer)
      await (next ?? running)?.catch(() => undefined)
      await ticking
    },
  }
}
