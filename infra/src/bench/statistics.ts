/** Middles and percentiles. */
import { build, type Histogram } from 'hdr-histogram-js'
import type { Latency } from './figures.js'

const LONGEST_US = 60_000_000

/** Gathers latencies, exact to three digits. */
export class LatencyRecorder {
  readonly #histogram: Histogram

  /** @param longestUs what takes longer counts as this */
  constructor(private readonly longestUs: number = LONGEST_US) {
    this.#histogram = build({
      lowestDiscernibleValue: 1,
      highestTrackableValue: longestUs,
      numberOfSignificantValueDigits: 3,
    })
  }

  record(us: number): void {
    this.#histogram.recordValue(Math.min(this.longestUs, Math.max(0, Math.round(us))))
  }

  /** What was gathered since the last call, which it stays. */
  peek(): Latency {
    return percentilesOf(this.#histogram)
  }

  /**
   * What was gathered since the last call.
   * @param intervalUs how often each of those who waited for one another would have sent if none had waited: what took longer held up
   *   messages that were never sent, and each of them counts with what it would have taken
   */
  take(intervalUs?: number): Latency {
    const whole = intervalUs !== undefined && intervalUs >= 1
    const histogram = whole
      ? this.#histogram.copyCorrectedForCoordinatedOmission(Math.round(intervalUs))
      : this.#histogram
    const latency = percentilesOf(histogram)
    this.#histogram.reset()
    return latency
  }
}

function percentilesOf(histogram: Histogram): Latency {
  const ms = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1_000
  return { p50: ms(50), p99: ms(99), max: histogram.maxValue / 1_000 }
}

/** For people. */
export const timesOf = ({ p50, p99, max }: Latency): string =>
  `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, max ${max.toFixed(0)} ms`

/** The item in the middle by a measure; of an even number the lower one of the two. */
export function middleBy<T>(items: readonly T[], measure: (item: T) => number): T {
  const sorted = [...items].sort((a, b) => measure(a) - measure(b))
  const middle = sorted[Math.floor((sorted.length - 1) / 2)]
  if (middle === undefined) throw new Error('nothing has a middle')
  return middle
}
