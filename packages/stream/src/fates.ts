/** What becomes of an entry, decided here alone: its handler returned or threw, and it is finished, tried again, or set aside. */
import { AppError } from '@tidings/protocol'
import { backoffMs, type Logger, pause } from '@tidings/service'
import { requireCapacity } from './dead.js'
import { decodeEntry, PoisonError } from './entry.js'
import type { Delivery, Exceptions, Handler } from './handler.js'
import type { Group, Keys } from './keys.js'
import type { StreamMetrics } from './metrics.js'
import type { Owned, Row } from './owned.js'
import type { Redis } from './redis.js'

/** Tries of an entry whose handler fails for a reason of the entry's own. */
const MAX_DELIVERIES = 5
const RETRY = { firstMs: 100, maxMs: 5_000 }

/**
 * @param signal ends the waiting; what has no fate by then stays pending
 * @param disown told of a partition that has a newer owner, with that one's fence
 * @returns a function that hands rows to the handler and gives each its fate, also when it throws half-way
 */
export function createFates(deps: {
  group: Group
  redis: Redis
  keys: Keys
  handler: Handler
  signal: AbortSignal
  disown(owned: Owned, by: number): void
  metrics: StreamMetrics
  log: Logger
}): (rows: readonly Row[]) => Promise<void> {
  const { group, redis, keys, handler, signal, disown, metrics, log } = deps

  /**
   * Tries the whole batch; when it fails for a reason of its own, entry by entry, so that one bad entry harms no other. While what the
   * group needs is away, entries of partitions that are given up are left to their next owner, who may have it.
   */
  async function attempt(given: readonly Row[], deliveriesOfGiven: readonly Delivery[]): Promise<void> {
    let [rows, deliveries] = [given, deliveriesOfGiven]
    for (let delivery = 1, waits = 0; !signal.aborted && rows.length > 0; ) {
      try {
        await give(rows, deliveries, delivery, await handler.handle(deliveries))
        return
      } catch (error) {
        if (error instanceof AppError && error.code === 'unavailable') {
          if (waits === 0) log.warn({ err: error.message, group }, 'paused: what the group needs is away')
          await pause(backoffMs(waits++, RETRY), signal)
          deliveries = deliveries.filter((_, i) => !rows[i]!.owned.over)
          for (const { owned, streamId } of rows) if (owned.over) owned.inHand.delete(streamId)
          for (const { owned } of rows) owned.onLeft?.()
          rows = rows.filter(({ owned }) => !owned.over)
          continue
        }
        if (rows.length > 1) {
          log.warn({ err: error, group, entries: rows.length }, 'a batch failed; trying its entries one by one')
          for (const [i, row] of rows.entries()) await attempt([row], [deliveries[i]!])
          return
        }
        const row = rows[0]!
        if (error instanceof PoisonError || delivery >= MAX_DELIVERIES) {
          const reason = error instanceof Error ? error.message : String(error)
          await bury(row, reason, delivery)
          return
        }
        log.warn({ err: error, group, entry: row.streamId, delivery }, 'an entry failed; trying again')
        delivery++
        await pause(backoffMs(delivery, RETRY), signal)
      }
    }
  }

  /** @param tries how often the batch was handed to the handler by now */
  async function give(
    rows: readonly Row[],
    deliveries: readonly Delivery[],
    tries: number,
    { poisoned, fenced }: Exceptions,
  ): Promise<void> {
    const reasons = new Map(poisoned?.map(({ delivery, reason }) => [delivery, reason]))
    const bad: [Row, string][] = []
    for (const [i, row] of rows.entries()) {
      const newer = fenced?.get(row.owned.partition)
      if (newer !== undefined) {
        disown(row.owned, newer)
        continue
      }
      const reason = reasons.size === 0 ? undefined : reasons.get(deliveries[i]!)
      if (reason === undefined) row.fate = 'done'
      else bad.push([row, reason])
    }
    for (const [row, reason] of bad) await bury(row, reason, tries)
  }

  async function bury(row: Row, reason: string, deliveries: number): Promise<void> {
    const { partition, fence } = row.owned
    for (let waits = 0; !signal.aborted; ) {
      if (waits > 0 && row.owned.over) return
      try {
        await requireCapacity(redis, keys, group, partition)
        await handler.bury?.({ partition, fence }, row.fields, reason)
        break
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'unavailable') throw error
        if (waits === 0) log.warn({ err: error.message, group }, 'paused: an entry cannot be set aside now')
        await pause(backoffMs(waits++, RETRY), signal)
      }
    }
    if (signal.aborted) return
    log.error({ group, partition, entry: row.streamId, reason }, 'set aside as a dead letter')
    metrics.deadLettered(1)
    row.fate = { streamId: row.streamId, fields: row.fields, reason, deliveries }
  }

  return async (rows) => {
    const readable: Row[] = []
    const deliveries: Delivery[] = []
    const unreadable: [Row, string][] = []
    for (const row of rows) {
      const { partition, fence } = row.owned
      try {
        const entry = decodeEntry(row.fields, partition, keys.partitionOf)
        deliveries.push({ partition, fence, streamId: row.streamId, entry })
        readable.push(row)
      } catch (error) {
        if (!(error instanceof PoisonError)) throw error
        unreadable.push([row, error.message])
      }
    }
    if (readable.length > 0) await attempt(readable, deliveries)
    // Behind the others: setting one aside may have to wait for what is away.
    for (const [row, reason] of unreadable) await bury(row, reason, 1)
  }
}
