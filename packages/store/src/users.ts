/** Accounts. A row is never removed. */
import { ER_DUPLICATE, errnoOf } from './away.js'
import { by, inChunks } from './chunks.js'
import { type Db, type Store, transaction } from './db.js'
import type { users } from './schema.js'

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
