/** Accounts. A row is never removed. */
import { inArray } from 'drizzle-orm'
import { ER_DUPLICATE, errnoOf } from './away.js'
import type { Store } from './db.js'
import { users } from './schema.js'

export type UserRow = typeof users.$inferSelect
export type NewUser = Pick<UserRow, 'id' | 'displayName' | 'passwordHash' | 'createdAt'>

/** @returns false when the name is taken, by a deleted account too @throws AppError `unavailable` */
export async function insertUser(store: Store, user: NewUser): Promise<boolean> {
  try {
    await store.use(({ orm }) => orm.insert(users).values(user))
    return true
  } catch (error) {
    if (errnoOf(error) !== ER_DUPLICATE) throw error
    return false
  }
}

/** Makes sure that there is a row, and answers it as it is. @throws AppError `unavailable` */
export async function ensureUser(store: Store, user: NewUser): Promise<UserRow> {
  const known = await findUser(store, user.id)
  if (known) return known
  await insertUser(store, user)
  return (await findUser(store, user.id))!
}

/** @throws AppError `unavailable` */
export async function findUser(store: Store, id: string): Promise<UserRow | undefined> {
  return (await findUsers(store, [id]))[0]
}

/** Those of the users that exist, in no order. Index: the primary key. @throws AppError `unavailable` */
export async function findUsers(store: Store, ids: readonly string[]): Promise<UserRow[]> {
  if (ids.length === 0) return []
  return store.use(({ orm }) =>
    orm
      .select()
      .from(users)
      .where(inArray(users.id, [...ids])),
  )
}
