/** Accounts. A row is never removed. */
import { and, eq, gt, isNull, or } from 'drizzle-orm'
import { ER_DUPLICATE, errnoOf } from './away.js'
import { by, inChunks } from './chunks.js'
import { type Db, type Store, transaction } from './db.js'
import { users } from './schema.js'
import { revokeAllSessions } from './sessions.js'

export type UserRow = typeof users.$inferSelect
export type NewUser = Pick<UserRow, 'id' | 'displayName' | 'passwordHash' | 'createdAt'>

const INSERT = 'INSERT INTO users (id, display_name, password_hash, created_at) VALUES ?'
const valuesOf = (rows: readonly NewUser[]) => [
  rows.map(({ id, displayName, passwordHash, createdAt }) => [id, displayName, passwordHash, createdAt]),
]

/** @returns false when the name is taken, by a deleted account too @throws AppError `unavailable` */
export async function insertUser(store: Store, user: NewUser): Promise<boolean> {
  try {
    await store.use((db) => db.run(INSERT, valuesOf([user])))
    return true
  } catch (error) {
    if (errnoOf(error) !== ER_DUPLICATE) throw error
    return false
  }
}

/** Makes sure that there are rows, and answers them as they are, in no order. @throws AppError `unavailable` */
export async function ensureUsers(store: Store, wanted: readonly NewUser[]): Promise<UserRow[]> {
  const known = await findUsers(
    store,
    wanted.map(({ id }) => id),
  )
  const there = new Set(known.map(({ id }) => id))
  const missing = wanted.filter(({ id }) => !there.has(id))
  if (missing.length === 0) return known
  // By key, against deadlocks: another process may be seeing the same people.
  await inChunks([...missing].sort(by('id')), (chunk) => transaction(store, (db) => insertMissing(db, chunk)))
  return [
    ...known,
    ...(await findUsers(
      store,
      missing.map(({ id }) => id),
    )),
  ]
}

// Somebody else may have made the same row just now: then it stays as it is.
const insertMissing = (db: Db, chunk: readonly NewUser[]): Promise<number> =>
  db.run(`${INSERT} ON DUPLICATE KEY UPDATE id = VALUES(id)`, valuesOf(chunk))

/** @throws AppError `unavailable` */
export async function findUser(store: Store, id: string): Promise<UserRow | undefined> {
  return (await findUsers(store, [id]))[0]
}

/** Those of the users that exist, in no order. Index: the primary key. @throws AppError `unavailable` */
export async function findUsers(store: Store, ids: readonly string[]): Promise<UserRow[]> {
  if (ids.length === 0) return []
  return store.use((db) => db.select<UserRow>(FIND, [[...ids]]))
}

const FIND = `SELECT id, display_name AS displayName, password_hash AS passwordHash, created_at AS createdAt,
    disabled_at AS disabledAt, deleted_at AS deletedAt FROM users WHERE id IN (?)`
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
 * Ends an account for good, with all its sessions and what it had set for itself; the row stays, so that nobody else gets the name. The first time counts.
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
