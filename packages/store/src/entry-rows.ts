/** Entries as rows, read by history; each as what later entries make of it (folds.ts). */
import { type Entry, folded, parseFold } from '@tidings/protocol'
import type { Db, Store } from './db.js'
import { EXPIRED } from './retention.js'

const READ_COLUMNS =
  'conversation, seq, id, n, from_user, type, content, client_id, sent_at, void_from, options, reason, fold'

/** A row of the table as its reader needs it. */
export interface StoredEntry {
  /** Its id is '' for a tombstone. */
  entry: Entry
  /** The seqs it declares empty, for a row of type `void`; `expired`: retention has removed what was there. */
  void?: { from: number; to: number; expired?: boolean }
}

interface EntryRow {
  conversation: string
  seq: string
  id: string | null
  n: string
  from_user: string
  type: string
  content: string
  client_id: string
  sent_at: string
  void_from: string | null
  options: string | null
  reason: string | null
  fold: string | null
}

function fromRow(row: EntryRow): StoredEntry {
  const entry: Entry = {
    id: row.id ?? '',
    conversation: row.conversation,
    seq: Number(row.seq),
    n: Number(row.n),
    from: row.from_user,
    type: row.type,
    content: row.content,
    clientId: row.client_id,
    sentAt: Number(row.sent_at),
    trace: '',
    ...(row.options !== null && { options: row.options }),
  }
  if (row.type !== 'void') return { entry: row.fold === null ? entry : folded(entry, parseFold(row.fold)) }
  const range = { from: Number(row.void_from ?? entry.seq), to: entry.seq }
  return { entry, void: row.reason === EXPIRED ? { ...range, expired: true } : range }
}

// Index: entries_pk, a range of one conversation in key order.
const rangeSql = (where: string, order: 'ASC' | 'DESC'): string =>
  `SELECT ${READ_COLUMNS} FROM entries WHERE conversation = ? AND ${where} ORDER BY seq ${order} LIMIT ?`

/** Rows above or below a seq, in that order. */
export async function readRows(
  db: Db,
  conversation: string,
  where: 'seq < ?' | 'seq > ?',
  order: 'ASC' | 'DESC',
  seq: number,
  limit: number,
): Promise<StoredEntry[]> {
  const rows = await db.select<EntryRow>(rangeSql(where, order), [conversation, seq, limit])
  return rows.map(fromRow)
}

/** The entry of this id, as readers see it. Index: entries_id. @param id decimal @throws AppError `unavailable` */
export async function findEntry(store: Store, id: string): Promise<Entry | undefined> {
  const [row] = await store.use((db) => db.select<EntryRow>(`SELECT ${READ_COLUMNS} FROM entries WHERE id = ?`, [id]))
  return row && fromRow(row).entry
}

/** Those of the entries that are stored, in no order. Index: entries_id. @param ids decimal @throws AppError `unavailable` */
export async function findEntries(store: Store, ids: readonly string[]): Promise<Entry[]> {
  if (ids.length === 0) return []
  const rows = await store.use((db) =>
    db.select<EntryRow>(`SELECT ${READ_COLUMNS} FROM entries WHERE id IN (?)`, [[...ids]]),
  )
  return rows.map((row) => fromRow(row).entry)
}

/**
 * Rows of a conversation, voids included, in ascending order; entries as readers see them.
 * @param range after: the oldest rows above it; before: the newest rows below it
 * @throws AppError `unavailable`
 */
export async function readEntries(
  store: Store,
  conversation: string,
  range: { after: number; limit: number } | { before: number; limit: number },
): Promise<StoredEntry[]> {
  return store.use(async (db) => {
    if ('after' in range) return readRows(db, conversation, 'seq > ?', 'ASC', range.after, range.limit)
    return (await readRows(db, conversation, 'seq < ?', 'DESC', range.before, range.limit)).reverse()
  })
}

/** Those of one sender above a seq and up to another, in order. Index: entries_pk, all of the range. */
export async function ownRows(
  db: Db,
  from: string,
  conversation: string,
  { after, to, limit }: { after: number; to: number; limit: number },
): Promise<Entry[]> {
  const rows = await db.select<EntryRow>(
    `SELECT ${READ_COLUMNS} FROM entries WHERE conversation = ? AND seq > ? AND seq <= ? AND from_user = ? AND type <> 'void'
      ORDER BY seq LIMIT ?`,
    [conversation, after, to, from, limit],
  )
  return rows.map((row) => fromRow(row).entry)
}

/**
 * The newest entry between two seqs that is no void and does not only change others. Index: entries_pk, downwards to the first one.
 * @throws AppError `unavailable`
 */
export async function newestMessage(
  store: Store,
  conversation: string,
  { below, above }: { below: number; above: number },
): Promise<Entry | undefined> {
  const [row] = await store.use((db) =>
    db.select<EntryRow>(
      `SELECT ${READ_COLUMNS} FROM entries WHERE conversation = ? AND seq < ? AND seq > ?
        AND type NOT IN ('edit', 'recall', 'reaction', 'void') ORDER BY seq DESC LIMIT 1`,
      [conversation, below, above],
    ),
  )
  return row && fromRow(row).entry
}

/**
 * The newest entries between two seqs, both included, that are no voids and do not only change others, and were sent by then; newest first.
 * Index: entries_pk, downwards.
 * @throws AppError `unavailable`
 */
export async function messagesSentBy(
  store: Store,
  conversation: string,
  { from, to, sentBy, limit }: { from: number; to: number; sentBy: number; limit: number },
): Promise<Entry[]> {
  const rows = await store.use((db) =>
    db.select<EntryRow>(
      `SELECT ${READ_COLUMNS} FROM entries WHERE conversation = ? AND seq BETWEEN ? AND ? AND sent_at <= ?
        AND type NOT IN ('edit', 'recall', 'reaction', 'void') ORDER BY seq DESC LIMIT ?`,
      [conversation, from, to, sentBy, limit],
    ),
  )
  return rows.map((row) => fromRow(row).entry)
}

// Index: entries_pk twice, first as one jump per conversation ("Using index for group-by"), then one row by its whole key.
const newestSql = (columns: string): string => `SELECT ${columns
  .split(', ')
  .map((column) => `e.${column}`)
  .join(', ')}
  FROM (SELECT conversation, MAX(seq) AS seq FROM entries WHERE conversation IN (?) GROUP BY conversation) AS last
  JOIN entries AS e ON e.conversation = last.conversation AND e.seq = last.seq`
const NEWEST = newestSql(READ_COLUMNS)
const REACHED = newestSql('conversation, seq, n')

/** The last row of each conversation that has one. @throws AppError `unavailable` */
export async function newestEntries(store: Store, conversations: readonly string[]): Promise<Map<string, StoredEntry>> {
  if (conversations.length === 0) return new Map()
  const rows = await store.use((db) => db.select<EntryRow>(NEWEST, [conversations]))
  return new Map(rows.map((row) => [row.conversation, fromRow(row)]))
}

/** How far the rows of each conversation reach, voids included; one without rows is left out. @throws AppError `unavailable` */
export async function reachedBy(
  store: Store,
  conversations: readonly string[],
): Promise<Map<string, { seq: number; n: number }>> {
  if (conversations.length === 0) return new Map()
  const rows = await store.use((db) =>
    db.select<{ conversation: string; seq: string; n: string }>(REACHED, [conversations]),
  )
  return new Map(rows.map(({ conversation, seq, n }) => [conversation, { seq: Number(seq), n: Number(n) }]))
}

/** The highest seq that a conversation's rows reach, voids included; 0 when it has none. @throws AppError `unavailable` */
export async function maxSeq(store: Store, conversation: string): Promise<number> {
  return (await maxSeqs(store, [conversation])).get(conversation) ?? 0
}

/** As `maxSeq`, for many; a conversation without rows is left out. @throws AppError `unavailable` */
export async function maxSeqs(store: Store, conversations: readonly string[]): Promise<Map<string, number>> {
  return new Map([...(await reachedBy(store, conversations))].map(([conversation, { seq }]) => [conversation, seq]))
}

/** For the tests that read EXPLAIN. */
export const entrySql = { newest: NEWEST, after: rangeSql('seq > ?', 'ASC'), before: rangeSql('seq < ?', 'DESC') }
