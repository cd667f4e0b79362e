/**
 * Generations: how numbering survives a Redis that forgets. Redis replicates and writes to disk after it has answered, so a failover,
 * an unclean restart or a flush may forget a tail of entries that devices already hold. A partition therefore knows under which server
 * it last appended, and under which number. A server that it does not know begins a new generation, and in it each conversation leaps:
 * the next entry gets a seq far beyond any that may have been given out, and the seqs in between are declared void.
 *
 * Pure decisions; generations.ts does the I/O. The number comes from a ledger outside Redis (MySQL), so that it is never given twice.
 */

/**
 * Each generation has seqs of its own: number 3 begins at three thousand million. So whatever two servers in turn have forgotten, and
 * wherever they believe a conversation to stand, they give out different ones. (The first begins at 1.)
 */
export const GENERATION_SEQS = 1_000_000_000
/** For a conversation that has used up its generation's seqs: more than it is given in the time that a server may forget. */
const LEAST_LEAP = 1_000_000

/** What a partition's record in Redis says. */
export interface Generation {
  number: number
  /** `master_replid` of the server that appends, or `closed:<word>` after a clean stop. */
  server: string
}

/** What the ledger says of a partition. */
export interface LedgerRow {
  /** The highest number that was ever given. */
  number: number
  /** The word of a clean stop that was not opened since, or ''. */
  closed: string
}

export const parseGeneration = (record: string): Generation | undefined => {
  const match = /^(\d+) (\S+)$/.exec(record)
  return match ? { number: Number(match[1]), server: match[2]! } : undefined
}

export const formatGeneration = ({ number, server }: Generation): string => `${number} ${server}`

/** The server id of a partition that was closed in order, before Redis was stopped. @param word written into the ledger too */
export const closedAs = (word: string): string => `closed:${word}`

export interface Opening {
  /**
   * `current`: the record names this server, and the ledger no later one. `first`: nothing was ever here. `reopened`: closed in order, nothing was lost.
   * `lost`: something may have been lost.
   */
  kind: 'current' | 'first' | 'reopened' | 'lost'
  /** The number to append under. To be in the ledger before the record is written. */
  number: number
}

/**
 * Under which generation a partition is to be appended to by a server.
 * @param record what the partition's record in Redis says, if anything
 * @param server the server's id now
 * @param ledger what the ledger says of the partition, if anything
 */
export function decideOpening(record: Generation | undefined, server: string, ledger: LedgerRow | undefined): Opening {
  // A server that was replaced and never restarted comes back with its record as it was: the ledger knows of a later one.
  if (record?.server === server && (ledger?.number ?? 0) <= record.number) {
    return { kind: 'current', number: record.number }
  }
  if (!record && !ledger) return { kind: 'first', number: 1 }
  const closedInOrder = ledger !== undefined && ledger.closed !== '' && record?.server === closedAs(ledger.closed)
  if (closedInOrder) return { kind: 'reopened', number: record.number }
  return { kind: 'lost', number: Math.max(record?.number ?? 0, ledger?.number ?? 0) + 1 }
}

/**
 * Whether a partition may be marked as closed in order, by a stop that has seen the record before the ledger.
 * @returns the row for the ledger; undefined when somebody else has opened the partition meanwhile, or it is not open
 */
export function decideClosing(
  record: Generation | undefined,
  server: string,
  ledger: LedgerRow | undefined,
  word: string,
): LedgerRow | undefined {
  // A number never goes back.
  if (record?.server !== server || ledger?.number !== record.number) return undefined
  return { number: record.number, closed: word }
}

/** What is known of a conversation before it leaps. Zeros where nothing is. */
export interface HeadFacts {
  /** Redis' head, and `n` there. */
  head: number
  n: number
  /** The highest seq that the log's ids have reached, whether it still holds it or not. */
  logTop: number
  /** The highest seq among the rows, and `n` there. */
  stored: { seq: number; n: number }
}

/** The seqs that hold nothing, both ends included, and `n` at their end. */
export interface Leap {
  from: number
  to: number
  n: number
}

/**
 * Where a conversation goes on.
 * @param generation number of the generation
 */
export function planLeap({ head, n, logTop, stored }: HeadFacts, generation: number): Leap {
  const base = Math.max(head, stored.seq)
  return {
    from: base + 1,
    to: Math.max(generation * GENERATION_SEQS, Math.max(base, logTop) + LEAST_LEAP),
    n: Math.max(n, stored.n),
  }
}
