/** Accounts. A row is never removed. */
import { EVERYONE } from '@tidings/protocol'
import { and, eq, gt, isNull, or } from 'drizzle-orm'
import { ER_DUPLICATE, errnoOf } from './away.js'
import { by, inChunks } from './chunks.js'
import { type Db, type Store, transaction } from './db.js'
import { maxSeq } from './entry-rows.js'
import { users } from './schema.js'
import { revokeAllSessions } from './sessions.js'

export interface UserRow extends Omit<typeof users.$inferSelect, 'feedStart'> {
  /** Is there anybody whose direct messages this user does not want? */
  hasBlocks: boolean
}
export interface NewUser extends Pick<UserRow, 'id' | 'displayName' | 'passwordHash' | 'createdAt'> {
  /** The head of `feed:*`: what was pushed to everyone before is not this user's. Left out: as far as MySQL knows it. */
  feedStart?: number | undefined
}

const INSERT = 'INSERT INTO users (id, display_name, password_hash, created_at, feed_start) VALUES ?'

async function valuesOf(store: Store, rows: readonly NewUser[]): Promise<unknown[][][]> {
  const stored = rows.every(({ feedStart }) => feedStart !== undefined) ? 0 : await maxSeq(store, EVERYONE)
  return [
    rows.map(({ id, displayName, passwordHash, createdAt, feedStart = stored }) => [
      ...[id, displayName, passwordHash, createdAt, feedStart],
    ]),
  ]
}

/** @returns false when the name is taken, by a deleted account too @throws AppError `unavailable` */
export async function insertUser(store: Store, user: NewUser): Promise<boolean> {
  const values = await valuesOf(store, [user])
  try {
    await store.use((db) => db.run(INSERT, values))
    return true
  } catch (error) {
    if (errnoOf(error) !== ER_DUPLICATE) throw error
    return false
  }
}

/**
 * Makes sure that there are rows, and answers them as they are, in no order.
 * @param feedHead the `feedStart` of new ones; asked only when there are any
 * @throws AppError `unavailable`
 */
export async function ensureUsers(
  store: Store,
  wanted: readonly NewUser[],
  feedHead: () => Promise<number | undefined> = async () => undefined,
): Promise<UserRow[]> {
  const known = await findUsers(
    store,
    wanted.map(({ id }) => id),
  )
  const there = new Set(known.map(({ id }) => id))
  const missing = wanted.filter(({ id }) => !there.has(id))
  if (missing.length === 0) return known
  const feedStart = await feedHead()
  // By key, against deadlocks: another process may be seeing the same people.
  await inChunks([...missing].sort(by('id')), async (chunk) => {
    const values = await valuesOf(
      store,
      chunk.map((user) => ({ feedStart, ...user })),
    )
    await transaction(store, (db) => insertMissing(db, values))
  })
  return [
    ...known,
    ...(await findUsers(
      store,
      missing.map(({ id }) => id),
    )),
  ]
}

// Somebody else may have made the same row just now: then it stays as it is.
const insertMissing = (db: Db, values: unknown[][][]): Promise<number> =>
  db.run(`${INSERT} ON DUPLICATE KEY UPDATE id = VALUES(id)`, values)

/** @throws AppError `unavailable` */
export async function findUser(store: Store, id: string): Promise<UserRow | undefined> {
  return (await findUsers(store, [id]))[0]
}

/** Those of the users that exist, in no order. Indexes: the primary key, blocks_pk. @throws AppError `unavailable` */
export async function findUsers(store: Store, ids: readonly string[]): Promise<UserRow[]> {
  if (ids.length === 0) return []
  const rows = await store.use((db) => db.select<Omit<UserRow, 'hasBlocks'> & { hasBlocks: number }>(FIND, [[...ids]]))
  return rows.map((row) => ({ ...row, hasBlocks: row.hasBlocks === 1 }))
}

const FIND = `SELECT id, display_name AS displayName, password_hash AS passwordHash, created_at AS createdAt,
    disabled_at AS disabledAt, deleted_at AS deletedAt,
    EXISTS (SELECT 1 FROM blocks WHERE blocks.user = users.id) AS hasBlocks FROM users WHERE id IN (?)`

/** Those of the users that are there and not deleted. Index: the primary key. @throws AppError `unavailable` */
export async function existingUsers(store: Store, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return []
  const sql = 'SELECT id FROM users WHERE id IN (?) AND deleted_at IS NULL'
  return (await store.use((db) => db.select<{ id: string }>(sql, [[...ids]]))).map(({ id }) => id)
}

/**
 * Where `feed:*` stood when these users appeared; one without a row is left out. Index: the primary key.
 * @throws AppError `unavailable`
 */
export async function feedStarts(store: Store, ids: readonly string[]): Promise<Map<string, number>> {
  if (ids.length === 0) return new Map()
  const sql = 'SELECT id, feed_start FROM users WHERE id IN (?)'
  const rows = await store.use((db) => db.select<{ id: string; feed_start: string }>(sql, [[...ids]]))
  return new Map(rows.map(({ id, feed_start }) => [id, Number(feed_start)]))
}

/** @returns false when there is no such user, or not any more @throws AppError `unavailable` */
export async function setDisplayName(store: Store, id: string, displayName: string): Promise<boolean> {
  const [result] = await store.use(({ orm }) =>
    orm
      .update(users)
      .set({ displayName })
      .where(and(eq(users.id, id), isNull(users.deletedAt))),
  )
  return result.affectedRows > 0
}

/**
 * Ends an account for good, with all its sessions, what it had set for itself and where its devices were pushed to; the row stays, so that nobody else gets the name. The first time counts.
 * @param displayName what others are shown from now on
 * @returns the sessions whose tokens may still be about; undefined when there is no such user
 * @throws AppError `unavailable`
 */
export async function deleteUser(
  store: Store,
  id: string,
  displayName: string,
  now: Date,
): Promise<string[] | undefined> {
  return transaction(store, async (db) => {
    // The row first: who opens a session holds it, see insertSession.
    const ended = await db.run(
      `UPDATE users SET deleted_at = COALESCE(deleted_at, ?), password_hash = NULL, display_name = ? WHERE id = ?`,
      [now, displayName, id],
    )
    if (ended === 0) return undefined
    await db.run('DELETE FROM conversation_flags WHERE user = ?', [id])
    await db.run('DELETE FROM left_rooms WHERE user = ?', [id])
    // Indexes: push_subscriptions_device, push_due_pk.
    await db.run('DELETE FROM push_subscriptions WHERE user = ?', [id])
    await db.run('DELETE FROM push_due WHERE user = ?', [id])
    return revokeAllSessions(db, id, now)
  })
}

/**
 * A user who is disabled loses all sessions; one who is not any more may sign in again.
 * @returns the sessions whose tokens may still be about; undefined when there is no such user
 * @throws AppError `unavailable`
 */
export async function setUserDisabled(
  store: Store,
  id: string,
  disabled: boolean,
  now: Date,
): Promise<string[] | undefined> {
  return transaction(store, async (db) => {
    const found = disabled
      ? await db.run('UPDATE users SET disabled_at = COALESCE(disabled_at, ?) WHERE id = ?', [now, id])
      : await db.run('UPDATE users SET disabled_at = NULL WHERE id = ?', [id])
    if (found === 0) return undefined
    return disabled ? revokeAllSessions(db, id, now) : []
  })
}

/** A place in the list of deleted users. */
export interface DeletedUser {
  deletedAt: Date
  id: string
}

/** Users whose accounts were deleted behind that place, in order. Index: users_deleted_at. @throws AppError `unavailable` */
export async function deletedUsers(store: Store, after: DeletedUser, limit: number): Promise<DeletedUser[]> {
  const { deletedAt, id } = after
  return store.use((db) =>
    db.select<DeletedUser>(
      `SELECT id, deleted_at AS deletedAt FROM users WHERE deleted_at > ? OR (deleted_at = ? AND id > ?)
        ORDER BY deleted_at, id LIMIT ?`,
      [deletedAt, deletedAt, id, limit],
    ),
  )
}

/** Users who were disabled or deleted after `since`. Indexes: users_disabled_at, users_deleted_at. @throws AppError `unavailable` */
export async function usersEndedSince(store: Store, since: Date): Promise<string[]> {
  const rows = await store.use(({ orm }) =>
    orm
      .select({ id: users.id })
      .from(users)
      .where(or(gt(users.disabledAt, since), gt(users.deletedAt, since))),
  )
  return rows.map(({ id }) => id)
}
