/**
 * Removing old entries. What was removed of a conversation is a void row of its own, from 1 to its floor, with `n` of the last entry that
 * was there: heads, counts and the order of seqs stay, and every reader passes it as any other void.
 */
import { firstIdAt } from '@tidings/protocol'
import { type Db, type Store, transaction } from './db.js'
import { removeUsesIn } from './file-uses.js'
import { holdJob, type Job } from './jobs.js'

/** Of the row that stands for what was removed. */
export const EXPIRED = 'expired'

/** Up to where a conversation's entries were removed. */
export interface Floor {
  seq: number
  /** How many messages there were up to it. */
  n: number
}

// Index: entries_pk twice, first as one jump per conversation ("Using index for group-by"), then one row by its whole key.
const FLOORS = `SELECT e.conversation, e.seq, e.n
  FROM (SELECT conversation, MIN(seq) AS seq FROM entries WHERE conversation IN (?) GROUP BY conversation) AS first
  JOIN entries AS e ON e.conversation = first.conversation AND e.seq = first.seq
  WHERE e.type = 'void' AND e.reason = '${EXPIRED}'`

/** The floors of those conversations of which something was removed. @throws AppError `unavailable` */
export async function floorsOf(store: Store, conversations: readonly string[]): Promise<Map<string, Floor>> {
  if (conversations.length === 0) return new Map()
  const rows = await store.use((db) =>
    db.select<{ conversation: string; seq: string; n: string }>(FLOORS, [conversations]),
  )
  return new Map(rows.map(({ conversation, seq, n }) => [conversation, { seq: Number(seq), n: Number(n) }]))
}

// Index: entries_id, a range in its own order; each of its items has the conversation in it ("Using index").
const OLD = 'SELECT id, conversation FROM entries FORCE INDEX (entries_id) WHERE id > ? AND id < ? ORDER BY id LIMIT ?'

/**
 * Conversations that have entries from before a time, by the oldest.
 * @param after the `last` of the page before, or '0'
 * @returns undefined at the end
 * @throws AppError `unavailable`
 */
export async function conversationsBefore(
  store: Store,
  ms: number,
  after: string,
  rows: number,
): Promise<{ conversations: string[]; last: string } | undefined> {
  const found = await store.use((db) =>
    db.select<{ id: string; conversation: string }>(OLD, [after, firstIdAt(ms), rows]),
  )
  if (found.length === 0) return undefined
  return { conversations: [...new Set(found.map(({ conversation }) => conversation))], last: String(found.at(-1)!.id) }
}

export interface RetainedRoom {
  id: string
  days: number
}

// Index: rooms_retention, in its own order.
const RETAINED = `SELECT id, retention_days AS days FROM rooms FORCE INDEX (rooms_retention)
  WHERE retention_days > 0 AND (retention_days > ? OR (retention_days = ? AND id > ?)) ORDER BY retention_days, id LIMIT ?`

/** Rooms that say for how long they keep entries, ended ones included. @throws AppError `unavailable` */
export async function roomsWithRetention(
  store: Store,
  after: RetainedRoom | undefined,
  limit: number,
): Promise<RetainedRoom[]> {
  const { days, id } = after ?? { days: 0, id: '' }
  return store.use((db) => db.select<RetainedRoom>(RETAINED, [days, days, id, limit]))
}

/** What of a conversation is to be removed next. */
export interface Expiring {
  floor: Floor
  /** Of the entry at the floor. */
  sentAt: number
  /** There may be more. */
  more: boolean
}

interface AgedRow {
  seq: string
  n: string
  type: string
  reason: string | null
  sent_at: string
}

// Index: entries_pk, a range in key order.
const OLDEST = 'SELECT seq, n, type, reason, sent_at FROM entries WHERE conversation = ? ORDER BY seq LIMIT ?'

/**
 * Looks at the oldest rows of a conversation, as many as `rows`: all up to the last one before the first that is young enough.
 * @returns undefined when there is nothing to remove
 * @throws AppError `unavailable`
 */
export async function findExpiring(
  store: Store,
  conversation: string,
  ms: number,
  rows: number,
): Promise<Expiring | undefined> {
  const oldest = await store.use((db) => db.select<AgedRow>(OLDEST, [conversation, rows]))
  const young = oldest.findIndex(({ type, sent_at }) => type !== 'void' && Number(sent_at) >= ms)
  const old = young === -1 ? oldest : oldest.slice(0, young)
  const at = old.findLastIndex(({ type, reason }) => type !== 'void' || reason === EXPIRED)
  const last = old[at]
  if (!last || !old.slice(0, at + 1).some(({ type }) => type !== 'void')) return undefined
  const floor = { seq: Number(last.seq), n: Number(last.n) }
  return { floor, sentAt: Number(last.sent_at), more: young === -1 && oldest.length === rows }
}

// Index: entries_pk. What was put back below the floor just now, and is young, stays.
const REMOVE = "DELETE FROM entries WHERE conversation = ? AND seq <= ? AND (sent_at < ? OR type = 'void')"
const DECLARE = `INSERT INTO entries (conversation, seq, n, from_user, type, content, client_id, sent_at, void_from, reason)
  VALUES (?, ?, ?, '', 'void', '{}', '', ?, 1, '${EXPIRED}')`
const IDS = 'SELECT id FROM entries WHERE conversation = ? AND seq <= ? AND sent_at < ? AND id IS NOT NULL'

/**
 * Removes what `findExpiring` has found, in one transaction that holds the job.
 * @returns how many rows went; undefined when the job is another's: nothing was removed
 * @throws AppError `unavailable`: nothing was removed, or, when the connection was lost at the commit, perhaps all
 */
export async function expire(
  store: Store,
  job: Job,
  conversation: string,
  { floor, sentAt }: Expiring,
  ms: number,
): Promise<number | undefined> {
  return transaction(store, async (db) => {
    if (!(await holdJob(db, job))) return undefined
    await removeBelonging(db, conversation, floor.seq, ms)
    const removed = await db.run(REMOVE, [conversation, floor.seq, ms])
    await db.run(DECLARE, [conversation, floor.seq, floor.n, sentAt])
    return removed
  })
}

/** Its words, and what says that it refers to files: those go when nothing else does. */
async function removeBelonging(db: Db, conversation: string, upTo: number, ms: number): Promise<void> {
  const ids = await db.select<{ id: string }>(IDS, [conversation, upTo, ms])
  await removeUsesIn(
    db,
    ids.map(({ id }) => id),
    new Date(),
  )
  // Index: search_entries_pk.
  await db.run('DELETE FROM search_entries WHERE conversation = ? AND seq <= ?', [conversation, upTo])
}

/** For the tests that read EXPLAIN. */
export const retentionSql = { floors: FLOORS, old: OLD, retained: RETAINED, oldest: OLDEST }
