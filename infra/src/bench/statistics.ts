/** Middles and percentiles. */
import { build, type Histogram } from 'hdr-histogram-js'
import type { Latency } from './order.js'

const LONGEST_US = 60_000_000

/** Gathers latencies, exact to three digits. */
export class LatencyRecorder {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_US,
    numberOfSignificantValueDigits: 3,
  })

  record(us: number): void {
    this.#histogram.recordValue(Math.min(LONGEST_US, Math.max(0, Math.round(us))))
  }

  /** What was gathered since the last call. */
  take(): Latency {
    const ms = (percentile: number): number => this.#histogram.getValueAtPercentile(percentile) / 1_000
    const latency = { p50: ms(50), p99: ms(99), max: this.#histogram.maxValue / 1_000 }
    this.#histogram.reset()
    return latency
  }
}

/** The item in the middle by a measure; of an even number the lower one of the two. */
export function middleBy<T>(items: readonly T[], measure: (item: T) => number): T {
  const sorted = [...items].sort((a, b) => measure(a) - measure(b))
  const middle = sorted[Math.floor((sorted.length - 1) / 2)]
  if (middle === undefined) throw new Error('nothing has a middle')
  return middle
}
