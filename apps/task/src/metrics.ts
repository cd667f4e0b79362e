/** The series of task that are no stage's. */
import { counter, type MetricsRegistry } from '@tidings/service'

export interface HoleMetrics {
  /** Entries that persist was never given and took from their conversations' logs. */
  filled(entries: number): void
  /** Seqs whose entries neither stream nor log has. */
  lost(seqs: number): void
}

export const createHoleMetrics = (registry: MetricsRegistry): HoleMetrics => ({
  filled: counter(
    registry,
    'tidings_holes_filled_total',
    'Entries that persist was never given and took from the logs in Redis.',
  ),
  lost: counter(
    registry,
    'tidings_holes_lost_total',
    'Seqs whose entries neither stream nor log has: lost, and void now.',
  ),
})
