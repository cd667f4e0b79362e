/** What becomes of an entry, decided here alone: its handler returned or threw, and it is finished, tried again, or set aside. */
import { AppError } from '@tidings/protocol'
import { backoffMs, type Logger, pause } from '@tidings/service'
import { requireRoom } from './dead.js'
import { decodeEntry, PoisonError } from './entry.js'
import type { Delivery, Handler } from './handler.js'
import type { Group, Keys } from './keys.js'
import type { StreamMetrics } from './metrics.js'
import type { Owned, Row } from './owned.js'
import type { Redis } from './redis.js'
import type { DeadLetter } from './settle.js'

/** Tries of an entry whose handler fails for a reason of the entry's own. */
const MAX_DELIVERIES = 5
const RETRY = { firstMs: 100, maxMs: 5_000 }

/** The rows whose fate is known. A row without one stays pending. */
export type Fates = Map<Row, DeadLetter | 'done'>

/**
 * @param signal ends the waiting; what has no fate by then stays pending
 * @param disown told of a partition that has a newer owner, with that one's fence
 * @returns a function that hands rows to the handler and writes down what became of each, also when it throws half-way
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
}): (rows: readonly Row[], fates: Fates) => Promise<void> {
  const { group, redis, keys, handler, signal, disown, metrics, log } = deps

  /** Tries the whole batch; when it fails for a reason of its own, entry by entry, so that one bad entry harms no other. */
  async function attempt(batch: readonly { row: Row; delivery: Delivery }[], fates: Fates): Promise<void> {
    for (let delivery = 1, waits = 0; !signal.aborted; ) {
      try {
        const { poisoned = [], fenced } = await handler.handle(batch.map((one) => one.delivery))
        const reasons = new Map(poisoned.map((one) => [one.delivery, one.reason]))
        for (const one of batch) {
          const newer = fenced?.get(one.row.owned.partition)
          if (newer !== undefined) {
            disown(one.row.owned, newer)
            continue
          }
          const reason = reasons.get(one.delivery)
          if (reason === undefined) fates.set(one.row, 'done')
          else await bury(one.row, reason, delivery, fates)
        }
        return
      } catch (error) {
        if (error instanceof AppError && error.code === 'unavailable') {
          if (waits === 0) log.warn({ err: error.message, group }, 'paused: what the group needs is away')
          await pause(backoffMs(waits++, RETRY), signal)
          continue
        }
        if (batch.length > 1) {
          log.warn({ err: error, group, entries: batch.length }, 'a batch failed; trying its entries one by one')
          for (const one of batch) await attempt([one], fates)
          return
        }
        const one = batch[0]!
        if (error instanceof PoisonError || delivery >= MAX_DELIVERIES) {
          const reason = error instanceof Error ? error.message : String(error)
          await bury(one.row, reason, delivery, fates)
          return
        }
        log.warn({ err: error, group, entry: one.row.streamId, delivery }, 'an entry failed; trying again')
        delivery++
        await pause(backoffMs(delivery, RETRY), signal)
      }
    }
  }

  async function bury(row: Row, reason: string, deliveries: number, fates: Fates): Promise<void> {
    const { partition, fence } = row.owned
    for (let waits = 0; !signal.aborted; ) {
      try {
        await requireRoom(redis, keys, group, partition)
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
    fates.set(row, { streamId: row.streamId, fields: row.fields, reason, deliveries })
  }

  return async (rows, fates) => {
    const batch: { row: Row; delivery: Delivery }[] = []
    for (const row of rows) {
      const { partition, fence } = row.owned
      try {
        const entry = decodeEntry(row.fields, partition, keys.partitionOf)
        batch.push({ row, delivery: { partition, fence, streamId: row.streamId, entry } })
      } catch (error) {
        if (!(error instanceof PoisonError)) throw error
        await bury(row, error.message, 1, fates)
      }
    }
    if (batch.length > 0) await attempt(batch, fates)
  }
}
