/** What this app measures. */
import { gauge, Histograms, type MetricsRegistry, type Observations, registered } from '@tidings/service'

const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15]

export interface HttpMetrics {
  /** @param route method and pattern, never a path @param outcome `2xx` to `5xx`, or `cut` when the client went away */
  answered(route: string, outcome: string, ms: number): void
}

export function createHttpMetrics(registry: MetricsRegistry, inFlight: () => number): HttpMetrics {
  gauge(registry, 'tidings_http_in_flight', 'HTTP requests that wait for their answer.', inFlight)
  const histogram = registered(
    registry,
    'tidings_http_seconds',
    (name) =>
      new Histograms({
        name,
        help: 'How long HTTP requests took, by route and class of status.',
        labelNames: ['route', 'status'],
        bounds: BUCKETS,
      }),
  )
  const series = new Map<string, Observations>()
  return {
    answered(route, outcome, ms) {
      const key = `${route} ${outcome}`
      let one = series.get(key)
      if (!one) {
        one = histogram.labels(route, outcome)
        series.set(key, one)
      }
      one.observe(ms / 1_000)
    },
  }
}
