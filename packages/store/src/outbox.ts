/** Changes that are committed and on their way into the logs. What is read of `entries` here is whether they have arrived. */
import { and, asc, desc, eq, isNotNull, isNull } from 'drizzle-orm'
import { type Store, transaction } from './db.js'
import { outbox } from './schema.js'

export type OutboxRow = typeof outbox.$inferSelect

/** Rows in one look. */
const PAGE = 200

/** The oldest rows of a conversation that were not appended yet, in their order. Index: outbox_client_id. @throws AppError `unavailable` */
export async function outboxPending(store: Store, conversation: string): Promise<OutboxRow[]> {
  return store.use(({ orm }) =>
    orm
      .select()
      .from(outbox)
      .where(and(eq(outbox.conversation, conversation), isNull(outbox.seq)))
      .orderBy(asc(outbox.id))
      .limit(PAGE),
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
export async function outboxAppended(store: Store, conversation: string, after: number): Promise<OutboxRow[]> {
  const rows = await store.use((db) =>
    db.select<{ id: string }>(
      'SELECT id FROM outbox WHERE conversation = ? AND seq IS NOT NULL AND id > ? ORDER BY id LIMIT ?',
      [conversation, after, PAGE],
    ),
  )
  if (rows.length === 0) return []
  return store.use(async ({ orm }) => {
    const found: OutboxRow[] = []
    for (const { id } of rows)
      found.push(
        ...(await orm
          .select()
          .from(outbox)
          .where(eq(outbox.id, Number(id)))),
      )
    return found
  })
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

/**
 * A row's entry lies at this seq: those who join by it are in the room from there on.
 * @param joined only those whom this very row let in, or who are not in by an earlier entry
 * @throws AppError `unavailable`: perhaps it was written; repeat it
 */
export async function markAppended(
  store: Store,
  row: Pick<OutboxRow, 'id' | 'conversation' | 'createdAt'>,
  seq: number,
  joined: readonly string[],
): Promise<void> {
  await transaction(store, async (db) => {
    if (joined.length > 0) {
      // A member's row bears the time of the change that made it: somebody who has left and come back has another one by now.
      await db.run(
        `UPDATE conversation_members SET joined_seq = ?
          WHERE user IN (?) AND conversation = ? AND created_at = ? AND joined_seq < ?`,
        [seq, [...joined].sort(), row.conversation, row.createdAt, seq],
      )
    }
    await db.run('UPDATE outbox SET seq = ?, appended_at = ? WHERE id = ?', [seq, new Date(), row.id])
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
 * Where a row's entry is stored, when nobody knows its seq: it was appended by a process that died.
 * Index: entries_id, for ids rise with time.
 * @param sinceId the lowest id it can have
 * @throws AppError `unavailable`
 */
export async function findStored(
  store: Store,
  row: Pick<OutboxRow, 'id'>,
  sinceId: string,
): Promise<number | undefined> {
  const [found] = await store.use((db) =>
    db.select<{ seq: string }>(
      `SELECT e.seq FROM outbox AS o JOIN entries AS e ON ${IS_STORED} AND e.id >= ? WHERE o.id = ? LIMIT 1`,
      [sinceId, row.id],
    ),
  )
  return found && Number(found.seq)
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
