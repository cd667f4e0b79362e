/** What this package counts. */
import { counter, type MetricsRegistry, type StageMetrics, stageMetrics } from '@tidings/service'

export interface StreamMetrics {
  append: StageMetrics
  reclaimed(entries: number): void
  /** Entries that were gone from the stream when their turn came: lost, and somebody's doing. */
  lost(entries: number): void
  deadLettered(entries: number): void
  readFailed(): void
}

export function createStreamMetrics(registry: MetricsRegistry): StreamMetrics {
  return {
    append: stageMetrics(registry, 'append'),
    reclaimed: counter(registry, 'tidings_reclaimed_total', 'Entries taken over from other consumers.'),
    lost: counter(
      registry,
      'tidings_lost_total',
      'Entries that were deleted from the stream before they were settled.',
    ),
    deadLettered: counter(registry, 'tidings_dead_letters_total', 'Entries set aside in a dead stream.'),
    readFailed: counter(registry, 'tidings_read_failures_total', 'Reads of the streams that failed.'),
  }
}
