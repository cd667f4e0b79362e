/** The series of logic: how long each method took and how it ended, and what waits for MySQL. */
import { gauge, type MetricsRegistry, type StageMetrics, stageMetrics } from '@tidings/service'

export interface LogicMetrics {
  /** @param name a method of the service */
  method(name: string): StageMetrics
  /** @param read how many cursors and devices wait to be stored */
  watchWriteBehind(read: () => number): void
}

export const createLogicMetrics = (registry: MetricsRegistry): LogicMetrics => ({
  method: (name) => stageMetrics(registry, `logic_${name}`),
  watchWriteBehind: (read) =>
    gauge(registry, 'tidings_write_behind_rows', 'Cursors and devices that wait to be stored in MySQL.', read),
})
