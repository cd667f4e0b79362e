/** How late this process' event loop is: what it has in hand delays everything that it is asked. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Stoppable } from '@tidings/service'

/** Each look wakes the process up: looking a hundred times a second would cost an idle one half of its time. */
const RESOLUTION_MS = 50
/** Long enough that one pause, of the collector or of the machine, is not yet the p95. */
const WINDOW_MS = 2_000

export interface EventLoop extends Stoppable {
  /** What one look in twenty of the last window waited for longer, in milliseconds; never less than from one to the next. */
  readonly p95Ms: number
}

export function watchEventLoop(windowMs: number = WINDOW_MS): EventLoop {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delays.enable()
  let p95Ms = 0
  let lookedAt = performance.now()
  const timer = setInterval(() => {
    // A delay is counted from the second turn on: none in a whole window is a turn that took all of it.
    p95Ms = delays.count > 0 ? delays.percentile(95) / 1e6 : performance.now() - lookedAt
    lookedAt = performance.now()
    delays.reset()
  }, windowMs)
  return {
    get p95Ms() {
      return p95Ms
    },
    async stop() {
      clearInterval(timer)
      delays.disable()
    },
  }
}
