/** The series of logic: how long each method took and how it ended, and what waits for MySQL. */
import { counter, gauge, type MetricsRegistry, type StageMetrics, stageMetrics } from '@tidings/service'

export interface LogicMetrics {
  /** @param name a method of the service */
  method(name: string): StageMetrics
  /** @param read how many cursors, devices and read positions wait to be stored */
  watchWriteBehind(read: () => number): void
  /** @param read how many changes of rooms are on their way into their logs */
  watchOutbox(read: () => number): void
  /** Receipts that nobody is told of. */
  dropped(events: number): void
}

export interface GenerationMetrics {
  /** A partition began a new generation because its Redis may have forgotten something. */
  lost(): void
  /** A conversation leapt. */
  leapt(): void
}

export function createGenerationMetrics(registry: MetricsRegistry): GenerationMetrics {
  const lost = counter(registry, 'tidings_generations_lost_total', 'Times that Redis may have forgotten entries.')
  const leapt = counter(registry, 'tidings_leaps_total', 'Conversations that leapt in a new generation.')
  return { lost: () => lost(1), leapt: () => leapt(1) }
}

export const createLogicMetrics = (registry: MetricsRegistry): LogicMetrics => ({
  method: (name) => stageMetrics(registry, `logic_${name}`),
  watchWriteBehind: (read) =>
    gauge(
      registry,
      'tidings_write_behind_rows',
      'Cursors, devices and read positions that wait to be stored in MySQL.',
      read,
    ),
  watchOutbox: (read) =>
    gauge(registry, 'tidings_outbox_waiting', 'Changes of rooms that are not in their logs yet.', read),
  dropped: counter(
    registry,
    'tidings_ephemeral_dropped_total',
    'Receipts that were not told: Redis was away, or too many came.',
  ),
})
