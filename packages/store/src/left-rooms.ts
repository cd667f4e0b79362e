/** Rooms that people have left, were removed from, or that have ended: what they said there is theirs still. */
import type { Entry } from '@tidings/protocol'
import type { Db, Store } from './db.js'
import { ownRows } from './entry-rows.js'

export interface LeftRoom {
  conversation: string
  leftAt: Date
}

/** Rows of others and one's own that are passed over by one statement. */
const SCANNED = 5_000

/**
 * Inside the transaction that takes them off, and before it does: until when they are muted stands in their rows. Not of accounts that are
 * deleted: nothing of them is kept that is for themselves alone. Index: the primary keys.
 */
export async function rememberLeft(db: Db, conversation: string, users: readonly string[], now: Date): Promise<void> {
  if (users.length === 0) return
  // For update: a shared lock of a row that is deleted next is a deadlock with whoever waits to change it.
  await db.run(
    `INSERT INTO left_rooms (user, conversation, left_at, muted_until)
      SELECT u.id, ?, ?, COALESCE(m.muted_until, 0) FROM users AS u
        LEFT JOIN conversation_members AS m ON m.user = u.id AND m.conversation = ?
        WHERE u.id IN (?) AND u.deleted_at IS NULL ORDER BY u.id FOR UPDATE
      ON DUPLICATE KEY UPDATE left_at = VALUES(left_at), muted_until = VALUES(muted_until)`,
    [conversation, now, conversation, [...users]],
  )
}

/** As `rememberLeft`, of a room that has ended; it is repeated until they are taken off. Index: the primary keys. */
export async function rememberEnded(
  db: Db,
  room: string,
  conversation: string,
  users: readonly string[],
): Promise<void> {
  await db.run(
    `INSERT INTO left_rooms (user, conversation, left_at)
      SELECT u.id, ?, r.deleted_at FROM users AS u JOIN rooms AS r ON r.id = ?
        WHERE u.id IN (?) AND u.deleted_at IS NULL AND r.deleted_at IS NOT NULL
      ON DUPLICATE KEY UPDATE left_at = VALUES(left_at)`,
    [conversation, room, [...users]],
  )
}

/**
 * The next room, by name, that a user has left, whether or not the user has come back; of one that has ended, from its end on. Indexes:
 * left_rooms_pk, conversation_members_pk.
 * @param after '' for the first
 * @throws AppError `unavailable`
 */
export async function nextLeftRoom(store: Store, user: string, after: string): Promise<LeftRoom | undefined> {
  const [row] = await store.use((db) =>
    db.select<LeftRoom>(
      `SELECT conversation, left_at AS leftAt FROM left_rooms WHERE user = ? AND conversation > ?
        UNION ALL
        SELECT m.conversation, r.deleted_at FROM conversation_members AS m JOIN rooms AS r ON r.id = SUBSTRING(m.conversation, 6)
          WHERE m.user = ? AND m.conversation > ? AND m.kind = 'room' AND r.deleted_at IS NOT NULL
        ORDER BY conversation LIMIT 1`,
      [user, after, user, after],
    ),
  )
  return row
}

/**
 * What a user has said in a conversation above a seq, and up to one, in order; a call looks at so many rows as one statement may.
 * @returns `reached`: everything up to there was looked at
 * @throws AppError `unavailable`
 */
export async function ownEntries(
  store: Store,
  user: string,
  conversation: string,
  { after, upTo, limit }: { after: number; upTo: number; limit: number },
): Promise<{ entries: Entry[]; reached: number }> {
  return store.use(async (db) => {
    // Index: entries_pk, so many keys on. Not by seq alone: those that leaps have passed over are many and have no rows.
    const [last] = await db.select<{ seq: string }>(
      'SELECT seq FROM entries WHERE conversation = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT 1 OFFSET ?',
      [conversation, after, upTo, SCANNED - 1],
    )
    const to = last ? Number(last.seq) : upTo
    const entries = await ownRows(db, user, conversation, { after, to, limit })
    return { entries, reached: entries.length === limit ? entries.at(-1)!.seq : to }
  })
}
