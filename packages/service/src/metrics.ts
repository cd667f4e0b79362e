/** The edge to Prometheus. Packages declare their series in their own metrics.ts, on the registry they are given. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { Counts, Histograms, registered } from './series.js'

export type MetricsRegistry = Registry

/** One registry per process, with Node's own series. */
export function createMetrics(app: string, instance: string): MetricsRegistry {
  const registry = new Registry()
  registry.setDefaultLabels({ app, instance })
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS })
  gaugeLags(registry)
  return registry
}

const NEVER_MS = 2 ** 31 - 1
const LOOK_EVERY_MS = 100
/** Of the library's series: it wakes a process up a hundred times a second for them, half of what an idle one costs. */
const LAGS = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'].map(
  (which) => `nodejs_eventloop_lag_${which}_seconds`,
)

/** The series that tell how late an event loop is, from looks that are further apart; since the scrape before. */
function gaugeLags(registry: MetricsRegistry): void {
  for (const name of LAGS) registry.removeSingleMetric(name)
  const looks = monitorEventLoopDelay({ resolution: LOOK_EVERY_MS })
  looks.enable()
  const lateS = (percentile: number): number =>
    looks.count > 0 ? Math.max(0, looks.percentile(percentile) / 1e6 - LOOK_EVERY_MS) / 1_000 : 0
  const late = (which: string, percentile: number, collected?: () => void): void =>
    gauge(
      registry,
      `nodejs_eventloop_lag_${which}_seconds`,
      'How late the event loop is, since the scrape before.',
      () => {
        const seconds = lateS(percentile)
        collected?.()
        return seconds
      },
    )
  late('p50', 50)
  late('p99', 99)
  late('max', 100, () => looks.reset())
}

/** Seconds, from half a millisecond to ten seconds: what a stage of the journey may take. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export interface StageMetrics {
  /** A stage did its work for `count` entries, the whole taking `ms`. */
  done(ms: number, count?: number): void
  /** A stage ended otherwise, under a word from a small fixed set. */
  failed(outcome: string, count?: number): void
}

/** The two series of every stage: how long it took, and how it ended. */
export function stageMetrics(registry: MetricsRegistry, stage: string): StageMetrics {
  const duration = registered(
    registry,
    'tidings_stage_seconds',
    (name) =>
      new Histograms({
        name,
        help: 'How long a stage of the journey took, per batch.',
        labelNames: ['stage'],
        bounds: BUCKETS,
      }),
  )
  const outcomes = registered(
    registry,
    'tidings_stage_total',
    (name) =>
      new Counts({
        name,
        help: 'Entries that a stage of the journey finished with, by outcome.',
        labelNames: ['stage', 'outcome'],
      }),
  )
  const ofStage = duration.labels(stage)
  const ok = outcomes.labels(stage, 'ok')
  return {
    done(ms, count = 1) {
      ofStage.observe(ms / 1_000)
      ok.inc(count)
    },
    failed(outcome, count = 1) {
      outcomes.labels(stage, outcome).inc(count)
    },
  }
}

/** A number that is read when somebody looks. */
export function gauge(registry: MetricsRegistry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read())
    },
  })
}

/** A number per label value that is read when somebody looks; label values that are gone are dropped. */
export function gaugeBy(
  registry: MetricsRegistry,
  name: string,
  help: string,
  labelNames: string[],
  read: () => Promise<{ labels: Record<string, string>; value: number }[]>,
): void {
  new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    async collect() {
      const rows = await read()
      this.reset()
      for (const { labels, value } of rows) this.set(labels, value)
    },
  })
}

/** A count that only rises. */
export function counter(registry: MetricsRegistry, name: string, help: string): (by?: number) => void {
  const series = new Counter({ name, help, registers: [registry] })
  return (by = 1) => series.inc(by)
}
