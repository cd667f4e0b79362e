/** What is measured of the pre-send hook. */
import { Histograms, type MetricsRegistry, registered } from '@tidings/service'

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export interface PreSendMetrics {
  /** @param outcome the hook's answer, or why there is none */
  asked(outcome: 'allow' | 'reject' | 'replace' | 'failed' | 'full' | 'open', ms: number): void
}

export function createPreSendMetrics(registry: MetricsRegistry): PreSendMetrics {
  const durations = registered(
    registry,
    'tidings_pre_send_seconds',
    (name) =>
      new Histograms({
        name,
        help: 'How long messages waited for the pre-send hook, by its answer or why there was none.',
        labelNames: ['outcome'],
        bounds: BUCKETS,
      }),
  )
  return { asked: (outcome, ms) => durations.labels(outcome).observe(ms / 1_000) }
}
