/** Uploaded files: a row before the first byte, so that no bytes lie about that nobody knows of; the bytes themselves are elsewhere. */
import { and, eq, isNotNull, isNull } from 'drizzle-orm'
import { type Store, transaction } from './db.js'
import { files } from './schema.js'

export type FileRow = typeof files.$inferSelect

/** What is said of a file before its bytes come. */
export interface NewFile {
  id: string
  owner: string
  name: string
  /** How many bytes are set aside for it. */
  size: number
  now: Date
}

/** A file takes a place on the disk, and a row, however small it is: it counts as so many bytes at least. */
const LEAST_BYTES = 4_096

/** What is known of a file when all of it is there. */
export interface StoredAs {
  mediaType: string
  size: number
  sha256: string
  width: number | null
  height: number | null
}

/**
 * Sets room aside for a file. Repeating it changes nothing.
 * @param quota bytes that the files of one owner may take, each 4,096 at least; 0: no bound
 * @returns false when that would be more than the quota
 * @throws AppError `unavailable`
 */
export async function beginFile(store: Store, file: NewFile, quota: number): Promise<boolean> {
  const { id, owner, name, size, now } = file
  return transaction(store, async (db) => {
    // The owner's row: two uploads at once must not take the last room both.
    await db.select('SELECT id FROM users WHERE id = ? FOR UPDATE', [owner])
    // Index: files_owner, which has the sizes.
    const [sum] = await db.select<{ bytes: string | null }>(
      'SELECT SUM(GREATEST(size, ?)) AS bytes FROM files WHERE owner = ? AND id <> ?',
      [LEAST_BYTES, owner, id],
    )
    if (quota > 0 && Number(sum?.bytes ?? 0) + Math.max(size, LEAST_BYTES) > quota) return false
    await db.run(
      `INSERT INTO files (id, owner, name, media_type, size, created_at, unused_since) VALUES ?
        ON DUPLICATE KEY UPDATE id = VALUES(id)`,
      [[[id, owner, name, '', size, now, now]]],
    )
    return true
  })
}

/**
 * All bytes are there. Repeating it changes nothing.
 * @returns the file; undefined when nothing was begun, or it was given up since
 * @throws AppError `unavailable`
 */
export async function storeFile(
  store: Store,
  owner: string,
  id: string,
  as: StoredAs,
  now: Date,
): Promise<FileRow | undefined> {
  return store.use(async (db) => {
    await db.orm
      .update(files)
      .set({ ...as, storedAt: now, unusedSince: now })
      .where(and(eq(files.id, id), eq(files.owner, owner), isNull(files.storedAt), isNull(files.deletedAt)))
    const [row] = await db.orm
      .select()
      .from(files)
      .where(and(eq(files.id, id), eq(files.owner, owner)))
    return row?.storedAt && !row.deletedAt ? row : undefined
  })
}

/** An upload came to nothing, and its bytes are gone. @throws AppError `unavailable` */
export async function dropFile(store: Store, owner: string, id: string): Promise<void> {
  await store.use(({ orm }) =>
    orm.delete(files).where(and(eq(files.id, id), eq(files.owner, owner), isNull(files.storedAt))),
  )
}

/** A file that is wholly there and not deleted. Index: the primary key. @throws AppError `unavailable` */
export async function findFile(store: Store, id: string): Promise<FileRow | undefined> {
  const [row] = await store.use(({ orm }) => orm.select().from(files).where(eq(files.id, id)))
  return row?.storedAt && !row.deletedAt ? row : undefined
}

/** Files of an owner that are wholly there and not deleted. Index: files_owner. @throws AppError `unavailable` */
export async function filesOf(store: Store, owner: string, limit: number): Promise<FileRow[]> {
  return store.use(({ orm }) =>
    orm
      .select()
      .from(files)
      .where(and(eq(files.owner, owner), isNotNull(files.storedAt), isNull(files.deletedAt)))
      .limit(limit),
  )
}

/** From now on nobody reads it; its bytes go with the next sweep. @returns false when it is not there @throws AppError `unavailable` */
export async function deleteFile(store: Store, owner: string, id: string, now: Date): Promise<boolean> {
  const deleted = await store.use((db) =>
    db.run(
      'UPDATE files SET deleted_at = ? WHERE id = ? AND owner = ? AND stored_at IS NOT NULL AND deleted_at IS NULL',
      [now, id, owner],
    ),
  )
  return deleted > 0
}

/** What the sweep deletes. */
export interface Sweep {
  now: Date
  /** Files that nothing has referred to since. */
  unusedBefore: Date
  /** Uploads that have not ended since. */
  begunBefore: Date
  /** Owners whose account was deleted since are looked at. */
  ownersEndedAfter: Date
  limit: number
}

/**
 * Marks as deleted what nobody needs; doing it twice changes nothing.
 * @returns whether there may be more of it
 * @throws AppError `unavailable`
 */
export async function deleteUnneeded(store: Store, sweep: Sweep): Promise<boolean> {
  const { now, unusedBefore, begunBefore, ownersEndedAfter, limit } = sweep
  // Each takes the rows' locks as the writing of a use does: one that is being used now is either seen, or not there any more.
  return store.use(async (db) => {
    // Index: files_unused_since.
    const unused = await db.run(
      `UPDATE files SET deleted_at = ? WHERE unused_since < ? AND uses = 0 AND stored_at IS NOT NULL AND deleted_at IS NULL LIMIT ?`,
      [now, unusedBefore, limit],
    )
    const begun = await db.run(
      `UPDATE files SET deleted_at = ? WHERE unused_since < ? AND stored_at IS NULL AND deleted_at IS NULL LIMIT ?`,
      [now, begunBefore, limit],
    )
    // Indexes: users_deleted_at, then files_owner.
    const rows = await db.select<{ id: string }>(
      `SELECT f.id FROM users AS u STRAIGHT_JOIN files AS f ON f.owner = u.id
        WHERE u.deleted_at > ? AND f.deleted_at IS NULL LIMIT ?`,
      [ownersEndedAfter, limit],
    )
    if (rows.length > 0)
      await db.run('UPDATE files SET deleted_at = ? WHERE id IN (?)', [now, rows.map(({ id }) => id)])
    return Math.max(unused, begun, rows.length) >= limit
  })
}

/** Deleted files whose bytes may still be there. Index: files_deleted_at. @throws AppError `unavailable` */
export async function deletedFiles(store: Store, limit: number): Promise<string[]> {
  const rows = await store.use((db) =>
    db.select<{ id: string }>('SELECT id FROM files WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT ?', [limit]),
  )
  return rows.map(({ id }) => id)
}

/** Their bytes are gone. @throws AppError `unavailable` */
export async function forgetFiles(store: Store, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  await transaction(store, async (db) => {
    const deleted = await db.select<{ id: string }>(
      'SELECT id FROM files WHERE id IN (?) AND deleted_at IS NOT NULL ORDER BY id FOR UPDATE',
      [[...ids]],
    )
    if (deleted.length === 0) return
    const gone = deleted.map(({ id }) => id)
    await db.run('DELETE FROM file_uses WHERE file IN (?)', [gone])
    await db.run('DELETE FROM files WHERE id IN (?)', [gone])
  })
}
