/** Is everything that was accepted settled and in MySQL? Asked of the stores themselves. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { RowDataPacket } from 'mysql2/promise'
import { Failure } from '../failure.js'
import { withMysql } from '../mysql.js'

const POLL_MS = 20
const LONGEST_MS = 60_000

/** Watches the streams of an instance. */
export class StreamWatch {
  readonly #redis: Redis

  constructor(
    url: string,
    private readonly partitions: number,
  ) {
    this.#redis = new Redis(url)
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
    const pipeline = this.#redis.pipeline()
    for (let p = 0; p < this.partitions; p++) pipeline.xinfo('GROUPS', `tidings:{${p}}:messages`)
    let open = 0
    for (const [error, groups] of (await pipeline.exec()) ?? []) {
      // A partition without a message has no stream.
      if (error && !error.message.includes('no such key')) throw error
      if (!error) open += unsettled(groups as GroupRow[])
    }
    return open
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
