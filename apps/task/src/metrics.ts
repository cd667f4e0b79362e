/** The series of task that are no stage's. */
import { counter, type MetricsRegistry } from '@tidings/service'

export interface HoleMetrics {
  /** Entries that persist was never given and took from their conversations' logs. */
  filled(entries: number): void
  /** Seqs whose entries neither stream nor log has. */
  lost(seqs: number): void
}

/** @returns a verb: so many rows were removed */
export const createRetentionMetrics = (registry: MetricsRegistry): ((rows: number) => void) =>
  counter(registry, 'tidings_expired_total', 'Rows of entries that retention has removed.')

/** @returns a verb: so many entries were read for the index of words */
export const createSearchMetrics = (registry: MetricsRegistry): ((entries: number) => void) =>
  counter(registry, 'tidings_search_indexed_total', 'Entries that were read for the index of words.')

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
