/** Changes that are committed and on their way into the logs. What is read of `entries` here is whether they have arrived. */
import { and, asc, desc, eq, gt, isNotNull, isNull } from 'drizzle-orm'
import { type Store, transaction } from './db.js'
import { outbox } from './schema.js'

export type OutboxRow = typeof outbox.$inferSelect

/** Rows in one look. */
const PAGE = 200

/** The oldest rows of a conversation that were not appended yet, in their order. Index: outbox_client_id. @throws AppError `unavailable` */
export async function outboxPending(store: Store, conversation: string, limit: number): Promise<OutboxRow[]> {
  return store.use(({ orm }) =>
    orm
      .select()
      .from(outbox)
      .where(and(eq(outbox.conversation, conversation), isNull(outbox.seq)))
      .orderBy(asc(outbox.id))
      .limit(limit),
  )
}

/** The newest row of a conversation that was appended and is not known to be stored. @throws AppError `unavailable` */
export async function outboxNewest(store: Store, conversation: string): Promise<OutboxRow | undefined> {
  const [row] = await store.use(({ orm }) =>
    orm
      .select()
      .from(outbox)
      .where(and(eq(outbox.conversation, conversation), isNotNull(outbox.seq)))
      .orderBy(desc(outbox.id))
      .limit(1),
  )
  return row
}

/** Rows of a conversation that were appended, above an id, in their order. @throws AppError `unavailable` */
export async function outboxAppended(
  store: Store,
  conversation: string,
  after: number,
  limit: number,
): Promise<OutboxRow[]> {
  return store.use(({ orm }) =>
    orm
      .select()
      .from(outbox)
      .where(and(eq(outbox.conversation, conversation), isNotNull(outbox.seq), gt(outbox.id, after)))
      .orderBy(asc(outbox.id))
      .limit(limit),
  )
}

/**
 * Conversations with rows that nobody may be working on any more: not appended, or not known to be stored, although older than that.
 * Index: the primary key; the table is small.
 * @param after the last id of the page before
 * @returns one row per conversation, its newest of the page, and the page's last id; undefined at the end
 * @throws AppError `unavailable`
 */
export async function outboxOverdue(
  store: Store,
  { pendingSince, appendedSince, after }: { pendingSince: Date; appendedSince: Date; after: number },
): Promise<{ conversations: string[]; last: number } | undefined> {
  const rows = await store.use((db) =>
    db.select<{ id: string; conversation: string }>(
      `SELECT id, conversation FROM outbox
        WHERE id > ? AND IF(seq IS NULL, created_at < ?, appended_at < ?) ORDER BY id LIMIT ?`,
      [after, pendingSince, appendedSince, PAGE],
    ),
  )
  const last = rows.at(-1)
  return last && { conversations: [...new Set(rows.map((row) => row.conversation))], last: Number(last.id) }
}

/** Where the entry of a row lies, and who is in the room from there on. */
export interface PlacedRow {
  row: OutboxRow
  seq: number
  joined: readonly string[]
}

/**
 * Writes down from which seq on those who joined are in the room.
 * @throws AppError `unavailable`: perhaps it was written; repeat it
 */
export async function markJoined(store: Store, placed: readonly PlacedRow[]): Promise<void> {
  const joining = placed.filter(({ joined }) => joined.length > 0)
  if (joining.length === 0) return
  await transaction(store, async (db) => {
    for (const { row, seq, joined } of joining) {
      // A member's row bears the time of the change that made it: somebody who has left and come back has another one by now.
      await db.run(
        `UPDATE conversation_members SET joined_seq = ?
          WHERE user IN (?) AND conversation = ? AND created_at = ? AND joined_seq < ?`,
        [seq, [...joined].sort(), row.conversation, row.createdAt, seq],
      )
    }
  })
}

/** Writes down that rows were appended. @throws AppError `unavailable`: perhaps it was written; repeat it */
export async function markAppended(store: Store, placed: readonly Pick<PlacedRow, 'row' | 'seq'>[]): Promise<void> {
  const now = new Date()
  await transaction(store, async (db) => {
    for (const { row, seq } of placed) {
      await db.run('UPDATE outbox SET seq = ?, appended_at = ? WHERE id = ?', [seq, now, row.id])
    }
  })
}

const IS_STORED = `e.conversation = o.conversation AND e.client_id = o.client_id AND e.from_user = o.from_user
  AND e.type = o.type`

/** Is a row's entry stored at this seq? Index: entries_pk. @throws AppError `unavailable` */
export async function isStoredAt(store: Store, row: Pick<OutboxRow, 'id'>, seq: number): Promise<boolean> {
  const rows = await store.use((db) =>
    db.select(`SELECT e.seq FROM outbox AS o JOIN entries AS e ON ${IS_STORED} AND e.seq = ? WHERE o.id = ?`, [
      seq,
      row.id,
    ]),
  )
  return rows.length > 0
}

/**
 * Where a row's entry is stored, when nobody knows its seq: it was appended by a process that died. The conversation's rows are read
 * downwards until they are older than that. Index: entries_pk.
 * @param sinceMs the earliest that it can have been sent, milliseconds since 1970
 * @throws AppError `unavailable`
 */
export async function findStored(
  store: Store,
  { conversation, clientId, from, type }: Pick<OutboxRow, 'conversation' | 'clientId' | 'from' | 'type'>,
  sinceMs: number,
): Promise<number | undefined> {
  for (let below = Number.MAX_SAFE_INTEGER; ; ) {
    const rows = await store.use((db) =>
      db.select<{ seq: string; client_id: string; from_user: string; type: string; sent_at: string }>(
        `SELECT seq, client_id, from_user, type, sent_at FROM entries
          WHERE conversation = ? AND seq < ? ORDER BY seq DESC LIMIT ?`,
        [conversation, below, PAGE],
      ),
    )
    const found = rows.find((row) => row.client_id === clientId && row.from_user === from && row.type === type)
    if (found) return Number(found.seq)
    const last = rows.at(-1)
    if (!last || rows.length < PAGE || Number(last.sent_at) < sinceMs) return undefined
    below = Number(last.seq)
  }
}

/** Rows whose entries are stored. Index: entries_pk, by whole keys. @throws AppError `unavailable` */
export async function outboxStored(
  store: Store,
  limit: number,
): Promise<{ id: number; conversation: string; change: string }[]> {
  const rows = await store.use((db) =>
    db.select<{ id: string; conversation: string; change: string }>(
      `SELECT o.id, o.conversation, o.\`change\` FROM outbox AS o JOIN entries AS e ON ${IS_STORED} AND e.seq = o.seq
        WHERE o.seq IS NOT NULL ORDER BY o.id LIMIT ?`,
      [limit],
    ),
  )
  return rows.map((row) => ({ ...row, id: Number(row.id) }))
}

/** How many rows were not appended yet. @throws AppError `unavailable` */
export async function outboxWaiting(store: Store): Promise<number> {
  const [row] = await store.use((db) =>
    db.select<{ waiting: string }>('SELECT COUNT(*) AS waiting FROM outbox WHERE seq IS NULL'),
  )
  return Number(row?.waiting)
}

/** @throws AppError `unavailable` */
export async function forgetOutbox(store: Store, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return
  await store.use((db) => db.run('DELETE FROM outbox WHERE id IN (?)', [[...ids].sort((a, b) => a - b)]))
}

/** Has this user a change of the conversation on its way that tells of it in this word? @throws AppError `unavailable` */
export async function outboxHas(store: Store, conversation: string, from: string, change: string): Promise<boolean> {
  const rows = await store.use((db) =>
    db.select<{ content: string }>('SELECT content FROM outbox WHERE conversation = ? AND from_user = ?', [
      conversation,
      from,
    ]),
  )
  return rows.some(({ content }) => (JSON.parse(content) as { change?: string }).change === change)
}
