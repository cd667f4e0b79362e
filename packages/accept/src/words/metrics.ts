/** What is measured of the word filter. */
import { Counts, counter, gauge, type MetricsRegistry, registered } from '@tidings/service'
import type { Action } from './automaton.js'

export interface WordMetrics {
  /** A message had a word of the list. */
  found(action: Action): void
  /** A list came that cannot be used. */
  listRefused(): void
  /** Flagged messages that are not in the list of those. */
  flaggedLost(count: number): void
}

/** @param listed reads how many words are in force */
export function createWordMetrics(registry: MetricsRegistry, listed: () => number): WordMetrics {
  const found = registered(
    registry,
    'tidings_words_total',
    (name) =>
      new Counts({ name, help: 'Messages with a word of the list, by what became of them.', labelNames: ['action'] }),
  )
  gauge(registry, 'tidings_words_listed', 'Words that are in force in this process.', listed)
  const refused = counter(registry, 'tidings_words_refused_total', 'Word lists in etcd that could not be used.')
  const lost = counter(registry, 'tidings_flagged_lost_total', 'Flagged messages that could not be written down.')
  return {
    found: (action) => found.labels(action).inc(),
    listRefused: () => refused(),
    flaggedLost: (count) => lost(count),
  }
}
