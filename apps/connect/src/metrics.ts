/** The series of what may be lost. */
import { counter, type MetricsRegistry } from '@tidings/service'

export interface EphemeralMetrics {
  dropped(events: number): void
}

export const createEphemeralMetrics = (registry: MetricsRegistry): EphemeralMetrics => ({
  dropped: counter(
    registry,
    'tidings_ephemeral_dropped_total',
    'Typing, receipts and presence that were not told: Redis was away, or it was too much.',
  ),
})
