/** How many entries come to a group in this process, lately. */

/** How long it takes until a change counts. */
const SMOOTHING_MS = 100

export interface EntryRate {
  /** A read has brought so many, perhaps none. */
  note(entries: number): void
  /** Entries a second. */
  readonly perS: number
}

export function createEntryRate(): EntryRate {
  let perMs = 0
  let found = 0
  let since = performance.now()
  return {
    note(entries) {
      found += entries
      const elapsed = performance.now() - since
      // Several lanes read in one round: what they bring belongs to the same time.
      if (elapsed < 1) return
      perMs += (1 - Math.exp(-elapsed / SMOOTHING_MS)) * (found / elapsed - perMs)
      since += elapsed
      found = 0
    },
    get perS() {
      return perMs * 1_000
    },
  }
}
