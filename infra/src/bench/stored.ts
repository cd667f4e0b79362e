/** Is everything that was accepted settled and in MySQL? Asked of the stores themselves. */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseRedisUrl } from '@tidings/service'
import { Cluster, Redis } from 'ioredis'
import type { RowDataPacket } from 'mysql2/promise'
import { Failure } from '../failure.js'
import { withMysql } from '../mysql.js'

const POLL_MS = 20
const LONGEST_MS = 60_000

/** Watches the streams of an instance. */
export class StreamWatch {
  readonly #redis: Redis | Cluster

  constructor(
    url: string,
    private readonly partitions: number,
  ) {
    const target = parseRedisUrl(url)
    this.#redis = target?.kind === 'cluster' ? new Cluster(target.addresses) : new Redis(url)
  }

  /** Resolves when both groups have settled every entry. @throws Failure when they do not get there in time */
  async settled(longestMs: number = LONGEST_MS): Promise<void> {
    const deadline = performance.now() + longestMs
    for (;;) {
      const open = await this.#open()
      if (open === 0) return
      if (performance.now() > deadline)
        throw new Failure(`${open} entries are not settled ${longestMs / 1_000} s after the last send.`)
      await sleep(POLL_MS)
    }
  }

  close(): void {
    this.#redis.disconnect()
  }

  /** Entries in the streams of an instance in which persist has not run yet. */
  async written(): Promise<number> {
    const lengths = Array.from({ length: this.partitions }, (_, p) => this.#redis.xlen(`tidings:{${p}}:messages`))
    return (await Promise.all(lengths)).reduce((sum, length) => sum + length, 0)
  }

  /** Entries that a group has not read, or not settled. */
  async #open(): Promise<number> {
    const counts = Array.from({ length: this.partitions }, async (_, p) => {
      try {
        return unsettled((await this.#redis.xinfo('GROUPS', `tidings:{${p}}:messages`)) as GroupRow[])
      } catch (error) {
        // A partition without a message has no stream.
        if (error instanceof Error && error.message.includes('no such key')) return 0
        throw error
      }
    })
    return (await Promise.all(counts)).reduce((sum, n) => sum + n, 0)
  }
}

type GroupRow = (string | number | null)[]

/** Adds up lag and pending of a stream's groups, as XINFO GROUPS gives them. */
export function unsettled(groups: readonly GroupRow[]): number {
  let sum = 0
  for (const row of groups) {
    // A lag that Redis cannot tell counts as one: not settled yet.
    sum += Number(fieldOf(row, 'lag') ?? 1) + Number(fieldOf(row, 'pending'))
  }
  return sum
}

const fieldOf = (row: GroupRow, name: string): string | number | null | undefined => row[row.indexOf(name) + 1]

/** Rows of conversations whose id begins like this. */
export async function countRows(mysqlUrl: string, prefix: string): Promise<number> {
  return withMysql(mysqlUrl, async (connection) => {
    const [rows] = await connection.query<(RowDataPacket & { n: number })[]>(
      'SELECT COUNT(*) AS n FROM entries WHERE conversation >= ? AND conversation < ?',
      [prefix, `${prefix}~`],
    )
    return rows[0]!.n
  })
}
