/** One loop with one connection: reads some partitions of a group and hands over what it finds. */
import { backoffMs, type Logger, pause } from '@tidings/service'
import type { EntryRate } from './entry-rate.js'
import type { StreamMetrics } from './metrics.js'
import type { Owned, Row } from './owned.js'
import type { RoundReader } from './read-rounds.js'
import type { Reader } from './reader.js'
import { READ_ENTRIES, type Reads } from './reads.js'

export interface Lane {
  /** What it reads. It is the caller who adds and removes. */
  readonly owned: Map<number, Owned>
  /** Ends a wait or a blocking read, so that a change of what is owned counts at once. */
  kick(): void
  /** Hands over nothing more. Resolves when the loop has ended. */
  stop(): Promise<void>
}

/**
 * @param takes hands rows to the handler; resolves when there is room for more
 * @param rate of the group in this process
 * @param rounds on a cluster, its part in the group's rounds: in them it gathers; without it gathers by waiting
 * @param gatherMs how long to wait for more after a read with next to nothing; the more it brought, the shorter
 * @param gatherFrom only when so many entries a second come
 * @param repair told of a failed read before the next one
 */
export function startLane(deps: {
  owned: Map<number, Owned>
  reader: Reader
  reads: Reads
  takes(rows: readonly Row[]): Promise<void>
  repair(error: Error): Promise<void>
  rate: EntryRate
  rounds: RoundReader | undefined
  gatherMs: number
  gatherFrom: number
  metrics: StreamMetrics
  log: Logger
}): Lane {
  const { owned, reader, reads, takes, repair, rate, rounds, gatherMs, gatherFrom, metrics, log } = deps
  const stopper = new AbortController()
  const { signal } = stopper
  let wake: (() => void) | undefined
  let failures = 0

  /** How long to wait for more, after a read that brought so many. */
  function waitAfter(entries: number): number {
    if (rounds || rate.perS < gatherFrom) return 0
    return Math.round(gatherMs * (1 - entries / READ_ENTRIES))
  }

  async function loop(): Promise<void> {
    while (!signal.aborted) {
      try {
        const rows = await next()
        failures = 0
        rate.note(rows.length)
        const waitMs = waitAfter(rows.length)
        if (rows.length === 0) continue
        await takes(rows)
        // Never while there is more: one busy partition among many would be read a few entries at a time.
        if (waitMs > 0 && !reads.more) await pause(waitMs, signal)
      } catch (thrown) {
        if (signal.aborted) return
        const error = thrown instanceof Error ? thrown : new Error(String(thrown))
        metrics.readFailed()
        if (failures === 0) log.warn({ err: error.message }, 'reading the streams failed')
        for (const state of owned.values()) state.rereadOwn = true
        await pause(backoffMs(failures++, { firstMs: 100, maxMs: 1_000 }), signal)
        await repair(error)
      }
    }
  }

  /** What to do next, oldest duty first. */
  async function next(): Promise<Row[]> {
    if (owned.size === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      wake = undefined
      return []
    }
    const left = await reads.takeOver()
    if (left.length > 0) return left
    // After a failure it asks anew where its stream lies.
    if (rounds?.busy && failures === 0) {
      return await reads.readNew(false, (command) => rounds.read(command, reads.more))
    }
    return await reader.read((connection) => reads.readNew(true, (command) => connection.send(command)))
  }

  function kick(): void {
    wake?.()
    reader.unblock()
  }

  const running = loop()
  return {
    owned,
    kick,
    async stop() {
      stopper.abort()
      wake?.()
      rounds?.leave()
      reader.stop()
      await running
    },
  }
}
