/** Whose direct messages a user does not want. */
import { and, asc, eq, gt } from 'drizzle-orm'
import type { Store } from './db.js'
import { blocks } from './schema.js'

/** A block that is there stays as it is. @throws AppError `unavailable` */
export async function addBlock(store: Store, user: string, blocked: string, now: Date): Promise<void> {
  // Here a duplicate is the same fact once more; the clause changes nothing.
  await store.use((db) =>
    db.run(
      'INSERT INTO blocks (user, blocked, created_at) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE blocked = VALUES(blocked)',
      [user, blocked, now],
    ),
  )
}

/** @throws AppError `unavailable` */
export async function removeBlock(store: Store, user: string, blocked: string): Promise<void> {
  await store.use(({ orm }) => orm.delete(blocks).where(and(eq(blocks.user, user), eq(blocks.blocked, blocked))))
}

/**
 * Those of the pairs that are blocks, as `<user> <blocked>`. Index: blocks_pk. @throws AppError `unavailable`
 * @param pairs of a user and whom that user may have blocked
 */
export async function blocksAmong(store: Store, pairs: readonly (readonly [string, string])[]): Promise<Set<string>> {
  if (pairs.length === 0) return new Set()
  const rows = await store.use((db) =>
    db.select<{ user: string; blocked: string }>('SELECT user, blocked FROM blocks WHERE (user, blocked) IN (?)', [
      pairs.map((pair) => [...pair]),
    ]),
  )
  return new Set(rows.map(({ user, blocked }) => `${user} ${blocked}`))
}

/** Whom a user has blocked, by name, after `after`. Index: blocks_pk. @throws AppError `unavailable` */
export async function blocksAfter(store: Store, user: string, after: string, limit: number): Promise<string[]> {
  const rows = await store.use(({ orm }) =>
    orm
      .select({ blocked: blocks.blocked })
      .from(blocks)
      .where(and(eq(blocks.user, user), gt(blocks.blocked, after)))
      .orderBy(asc(blocks.blocked))
      .limit(limit),
  )
  return rows.map(({ blocked }) => blocked)
}

/** Blocks made after `since`. Index: blocks_created_at. @throws AppError `unavailable` */
export async function blockedSince(store: Store, since: Date): Promise<{ user: string; blocked: string }[]> {
  return store.use(({ orm }) =>
    orm.select({ user: blocks.user, blocked: blocks.blocked }).from(blocks).where(gt(blocks.createdAt, since)),
  )
}
