/** How late this process' event loop is: what it has in hand delays everything that it is asked. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Stoppable } from '@tidings/service'

const RESOLUTION_MS = 10
/** Long enough that one pause, of the collector or of the machine, is not yet the p99. */
const WINDOW_MS = 2_000

export interface EventLoop extends Stoppable {
  /** The delay that one turn in a hundred exceeded in the last window, in milliseconds. */
  readonly p99Ms: number
}

export function watchEventLoop(windowMs: number = WINDOW_MS): EventLoop {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delays.enable()
  let p99Ms = 0
  let lookedAt = performance.now()
  const timer = setInterval(() => {
    // A delay is counted from the second turn on: none in a whole window is a turn that took all of it.
    p99Ms = delays.count > 0 ? delays.percentile(99) / 1e6 : performance.now() - lookedAt
    lookedAt = performance.now()
    delays.reset()
  }, windowMs)
  return {
    get p99Ms() {
      return p99Ms
    },
    async stop() {
      clearInterval(timer)
      delays.disable()
    },
  }
}
