import type { Indexed } from './indexed.js'

/** One promise, and how a history can break it. */
export interface Rule {
  name: string
  /** In plain words. */
  promise: string
  /** A sentence for each breach. */
  check(indexed: Indexed): Iterable<string>
}
