/**
 * Counters and histograms for what happens thousands of times a second. prom-client's own look a series up by the text of its labels at
 * each observation, behind `labels()` too; here whoever observes holds the series.
 */
import type { Metric, Registry } from 'prom-client'

type Labels = Record<string, string | number>

/** As a registry prints it. */
interface Value {
  metricName?: string
  labels: Labels
  value: number
}

interface Description {
  name: string
  help: string
  labelNames: readonly string[]
}

/** The series of one name. */
abstract class SeriesByLabels<One> {
  readonly #series = new Map<string, { labels: Labels; one: One }>()
  abstract readonly type: string
  readonly aggregator = 'sum'

  constructor(readonly description: Description) {}

  get name(): string {
    return this.description.name
  }

  protected abstract begin(): One
  protected abstract read(one: One, labels: Labels): Value[]

  /** @param values of the labels, in the order of their names */
  labels(...values: readonly string[]): One {
    const key = values.join('\n')
    let known = this.#series.get(key)
    if (!known) {
      const labels = Object.fromEntries(this.description.labelNames.map((name, i) => [name, values[i]!]))
      known = { labels, one: this.begin() }
      this.#series.set(key, known)
    }
    return known.one
  }

  /** What a registry asks for. */
  async get(): Promise<object> {
    const { type, aggregator } = this
    const { name, help } = this.description
    const values = [...this.#series.values()].flatMap(({ one, labels }) => this.read(one, labels))
    return { name, help, type, aggregator, values }
  }
}

export interface Count {
  inc(by?: number): void
}

class CountSeries implements Count {
  total = 0

  inc(by = 1): void {
    this.total += by
  }
}

export class Counts extends SeriesByLabels<CountSeries> {
  override readonly type = 'counter'

  protected override begin(): CountSeries {
    return new CountSeries()
  }

  protected override read({ total }: CountSeries, labels: Labels): Value[] {
    return [{ labels, value: total }]
  }
}

export interface Observations {
  observe(value: number): void
}

class ObservationSeries implements Observations {
  /** How many by the first bound that they do not exceed; behind those, the ones beyond all bounds. */
  readonly byBound: number[]
  sum = 0

  constructor(readonly bounds: readonly number[]) {
    this.byBound = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  observe(value: number): void {
    const { bounds } = this
    let i = 0
    while (i < bounds.length && value > bounds[i]!) i++
    this.byBound[i]!++
    this.sum += value
  }
}

export class Histograms extends SeriesByLabels<ObservationSeries> {
  override readonly type = 'histogram'
  readonly #bounds: readonly number[]

  /** @param description `bounds` rise */
  constructor({ bounds, ...description }: Description & { bounds: readonly number[] }) {
    super(description)
    this.#bounds = bounds
  }

  protected override begin(): ObservationSeries {
    return new ObservationSeries(this.#bounds)
  }

  protected override read({ byBound, sum }: ObservationSeries, labels: Labels): Value[] {
    const { name } = this
    let count = 0
    const buckets = byBound.map((here, i) => {
      count += here
      return { metricName: `${name}_bucket`, labels: { ...labels, le: this.#bounds[i] ?? '+Inf' }, value: count }
    })
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: count },
    ]
  }
}

/** The metric of this name in a registry, made when there is none yet. */
export function registered<M extends Counts | Histograms>(
  registry: Registry,
  name: string,
  make: (name: string) => M,
): M {
  const known: unknown = registry.getSingleMetric(name)
  if (known !== undefined) return known as M
  const made = make(name)
  // A registry asks a metric for its name and for `get`; its type lists prom-client's own classes.
  registry.registerMetric(made as unknown as Metric)
  return made
}
