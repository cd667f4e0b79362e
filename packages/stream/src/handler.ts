/** What a group gives to be fed: a handler. It returns or throws; what becomes of an entry is decided in fates.ts. */
import type { Entry } from '@tidings/protocol'

/** Whose work it is: of two owners of a partition the one with the higher fence. */
export interface Owner {
  partition: number
  /** To travel with everything that is done under this ownership. */
  fence: number
}

/** An entry in a handler's hands. */
export interface Delivery extends Owner {
  streamId: string
  entry: Entry
}

/** What a handler could not simply finish. */
export interface Exceptions {
  /** Entries that can never succeed, with the reason: they become dead letters. */
  poisoned?: readonly { delivery: Delivery; reason: string }[]
  /**
   * Partitions that turned out to have a newer owner, each with that one's fence: nothing of them is settled here, and this process
   * stops reading them.
   */
  fenced?: ReadonlyMap<number, number>
}

export interface Handler {
  /**
   * Does the group's work for entries in stream order. Returning settles them all, but for the exceptions.
   * @throws PoisonError when the one entry given can never succeed; AppError `unavailable` when the world is down and not the
   * entry: the group pauses and nothing is counted; anything else is tried again and given up after five deliveries
   */
  handle(batch: readonly Delivery[]): Promise<Exceptions>
  /** Told before an entry is set aside, with its raw fields. May throw `unavailable`, which pauses. */
  bury?(owner: Owner, fields: readonly string[], reason: string): Promise<void>
}
