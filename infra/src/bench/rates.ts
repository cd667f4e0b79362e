/** How much the stores are asked, by their own counters, looked at every second. */
import { Redis } from 'ioredis'
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise'
import type { StoreRates } from './figures.js'
import type { Order } from './order.js'

const EVERY_MS = 1_000

type Counts = Record<string, number>

/** Counts from its start on. The looks themselves are in it: three requests a second. */
export class RateWatch {
  readonly #rates: Counts[] = []
  #last: { counts: Counts; at: number } | undefined
  #looking: Promise<void> = Promise.resolve()
  readonly #timer: NodeJS.Timeout

  private constructor(
    private readonly redis: Redis,
    private readonly mysql: Connection,
    private readonly etcdUrl: string,
  ) {
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() => this.#look())
    }, EVERY_MS)
    this.#looking = this.#look()
  }

  static async open({ redisUrl, mysqlUrl, etcdUrl }: Order): Promise<RateWatch> {
    const mysql = await createConnection({ uri: mysqlUrl })
    mysql.on('error', () => undefined)
    return new RateWatch(new Redis(redisUrl), mysql, etcdUrl)
  }

  /** Rates since the last call. */
  async take(): Promise<StoreRates> {
    await this.#looking
    return summarizeRates(this.#rates.splice(0))
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#looking
    this.redis.disconnect()
    this.mysql.destroy()
  }

  async #look(): Promise<void> {
    try {
      const counts = await this.#read()
      const at = performance.now()
      if (this.#last) this.#rates.push(perSecond(counts, this.#last.counts, (at - this.#last.at) / 1_000))
      this.#last = { counts, at }
    } catch {
      // A store that does not answer within a second is busy: the next look covers both.
    }
  }

  async #read(): Promise<Counts> {
    const [info, [rows], metrics] = await Promise.all([
      this.redis.info('stats'),
      this.mysql.query<(RowDataPacket & { Value: string })[]>("SHOW GLOBAL STATUS LIKE 'Questions'"),
      fetch(`${this.etcdUrl}/metrics`, { signal: AbortSignal.timeout(EVERY_MS) }).then((answer) => answer.text()),
    ])
    return {
      redis: Number(/^total_commands_processed:(\d+)/m.exec(info)?.[1]),
      mysql: Number(rows[0]?.Value),
      etcd: sumOf(metrics, 'grpc_server_handled_total'),
      'etcd writes': sumOf(metrics, 'etcd_server_proposals_committed_total'),
    }
  }
}

/** Adds up a metric over all its labels, in Prometheus' text. */
export function sumOf(metrics: string, name: string): number {
  let sum = 0
  for (const line of metrics.split('\n')) {
    if (line.startsWith(name) && /^[{ ]/.test(line.slice(name.length)))
      sum += Number(line.slice(line.lastIndexOf(' ') + 1))
  }
  return sum
}

const perSecond = (now: Counts, before: Counts, seconds: number): Counts =>
  Object.fromEntries(Object.entries(now).map(([name, count]) => [name, (count - before[name]!) / seconds]))

/** Mean and most by store. */
export function summarizeRates(rates: readonly Counts[]): StoreRates {
  const found: StoreRates = {}
  for (const name of Object.keys(rates[0] ?? {})) {
    const all = rates.map((rate) => rate[name]!)
    found[name] = { mean: all.reduce((sum, n) => sum + n, 0) / all.length, most: Math.max(...all) }
  }
  return found
}
