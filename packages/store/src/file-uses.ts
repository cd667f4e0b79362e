/** Which messages refer to which files. */
import { type Db, type Store, transaction } from './db.js'

/** A message that refers to files, as it is about to be appended. */
export interface NewUse {
  files: readonly string[]
  /** Its id, decimal. */
  message: string
  conversation: string
  /** A seq that the message stands above, or will, and not far: the head of the conversation now, or what is before the target of an edit. */
  above: number
  now: Date
}

export interface FileUse {
  file: string
  message: string
  conversation: string
  above: number
  /** Whether its message was not seen stored yet, or was changed since. */
  unproven: boolean
}

interface UseRow {
  file: string
  message: string
  conversation: string
  above: string
  unproven_since: Date | null
}

const toUse = ({ file, message, conversation, above, unproven_since }: UseRow): FileUse => ({
  ...{ file, message, conversation, above: Number(above), unproven: unproven_since !== null },
})

/** Messages that refer to one file; it goes into more as another upload. */
export const MAX_USES = 10_000

/**
 * Writes down that a message refers to files. Repeating it changes nothing.
 * @returns the first of the files that cannot be used, and why; undefined when all is written
 * @throws AppError `unavailable`
 */
export async function addUses(
  store: Store,
  use: NewUse,
): Promise<{ file: string; reason: 'gone' | 'full' } | undefined> {
  const { message, conversation, above, now } = use
  const files = [...new Set(use.files)].sort()
  return transaction(store, async (db) => {
    // The rows first, by key: a sweep that deletes one of them comes before this or after.
    const rows = await db.select<{ id: string; uses: number }>(
      'SELECT id, uses FROM files WHERE id IN (?) AND stored_at IS NOT NULL AND deleted_at IS NULL ORDER BY id FOR UPDATE',
      [files],
    )
    const uses = new Map(rows.map((row) => [row.id, row.uses]))
    for (const file of files) {
      const before = uses.get(file)
      if (before === undefined) return { file, reason: 'gone' as const }
      if (before >= MAX_USES) return { file, reason: 'full' as const }
    }
    const known = await db.select<{ file: string }>('SELECT file FROM file_uses WHERE file IN (?) AND message = ?', [
      files,
      message,
    ])
    const there = new Set(known.map(({ file }) => file))
    // Of a message that showed it before: nobody who looked at that message meanwhile may take this use back, or settle it.
    if (there.size > 0)
      await db.run('UPDATE file_uses SET unproven_since = ? WHERE file IN (?) AND message = ?', [
        now,
        [...there],
        message,
      ])
    const fresh = files.filter((file) => !there.has(file))
    if (fresh.length === 0) return undefined
    await db.run('INSERT INTO file_uses (file, message, conversation, above, unproven_since) VALUES ?', [
      fresh.map((file) => [file, message, conversation, above, now]),
    ])
    await db.run('UPDATE files SET uses = uses + 1, unused_since = NULL WHERE id IN (?)', [fresh])
    return undefined
  })
}

/** In a LIKE these stand for others. */
const literally = (text: string): string => text.replace(/[\\%_]/g, '\\$&')

/**
 * Uses of a file in conversations that a user may be a party of, oldest first; of rooms those that MySQL lists the user in, which it does
 * before anybody else. Indexes: file_uses_pk, conversation_members_pk.
 * @param after the message that the page before ended with, or '0'
 * @throws AppError `unavailable`
 */
export async function usesFor(
  store: Store,
  file: string,
  user: string,
  after: string,
  limit: number,
): Promise<FileUse[]> {
  const name = literally(user)
  const rows = await store.use((db) =>
    db.select<UseRow>(
      `SELECT l.file, CAST(l.message AS CHAR) AS message, l.conversation, l.above, l.unproven_since FROM file_uses AS l
        LEFT JOIN conversation_members AS m ON m.user = ? AND m.conversation = l.conversation
        WHERE l.file = ? AND l.message > ? AND (m.user IS NOT NULL OR l.conversation LIKE ? OR l.conversation LIKE ?
          OR l.conversation IN (?))
        ORDER BY l.message LIMIT ?`,
      [user, file, after, `dm:${name}:%`, `dm:%:${name}`, [`feed:${user}`, 'feed:*'], limit],
    ),
  )
  return rows.map(toUse)
}

/**
 * Uses whose message was not seen stored yet, or was changed since, written down before a time. Index: file_uses_unproven_since.
 * @throws AppError `unavailable`
 */
export async function unprovenUses(store: Store, before: Date, limit: number): Promise<FileUse[]> {
  const rows = await store.use((db) =>
    db.select<UseRow>(
      `SELECT file, CAST(message AS CHAR) AS message, conversation, above, unproven_since FROM file_uses
        WHERE unproven_since < ? ORDER BY unproven_since LIMIT ?`,
      [before, limit],
    ),
  )
  return rows.map(toUse)
}

type Named = Pick<FileUse, 'file' | 'message'>

/** These uses, as they were when somebody looked at them: what was written down again since is left alone. Index: file_uses_message. */
const AMONG = "message IN (?) AND CONCAT(file, ' ', message) IN (?) AND unproven_since < ?"
const among = (uses: readonly Named[], before: Date): [string[], string[], Date] => [
  [...new Set(uses.map(({ message }) => message))],
  uses.map(({ file, message }) => `${file} ${message}`),
  before,
]

/** Their messages are stored, and show these files. @param before as `unprovenUses` was asked @throws AppError `unavailable` */
export async function proveUses(store: Store, uses: readonly Named[], before: Date): Promise<void> {
  if (uses.length === 0) return
  await store.use((db) => db.run(`UPDATE file_uses SET unproven_since = NULL WHERE ${AMONG}`, among(uses, before)))
}

/** Nobody can tell yet: they are looked at again later. @param before as `unprovenUses` was asked @throws AppError `unavailable` */
export async function postponeUses(store: Store, uses: readonly Named[], before: Date, now: Date): Promise<void> {
  if (uses.length === 0) return
  await store.use((db) =>
    db.run(`UPDATE file_uses SET unproven_since = ? WHERE ${AMONG}`, [now, ...among(uses, before)]),
  )
}

/**
 * Their messages were never appended, or do not show these files. What is left without a use goes after a while.
 * @param before as `unprovenUses` was asked
 * @throws AppError `unavailable`
 */
export async function removeUses(store: Store, uses: readonly Named[], before: Date, now: Date): Promise<void> {
  if (uses.length === 0) return
  const files = [...new Set(uses.map(({ file }) => file))].sort()
  await transaction(store, (db) =>
    removing(db, files, now, () => db.run(`DELETE FROM file_uses WHERE ${AMONG}`, among(uses, before))),
  )
}

/**
 * These messages show nothing any more: they were recalled, or are not kept. A use that comes meanwhile, of another file, stays: it is not
 * proven, and goes when it is looked at. Index: file_uses_message.
 */
export async function removeUsesIn(db: Db, messages: readonly string[], now: Date): Promise<void> {
  if (messages.length === 0) return
  const uses = await db.select<{ file: string }>('SELECT file FROM file_uses WHERE message IN (?)', [[...messages]])
  if (uses.length === 0) return
  const files = [...new Set(uses.map(({ file }) => file))].sort()
  await removing(db, files, now, () =>
    db.run('DELETE FROM file_uses WHERE message IN (?) AND file IN (?)', [[...messages], files]),
  )
}

/** What this message shows has changed: its uses are looked at again. Index: file_uses_message. */
export async function doubtUsesIn(db: Db, message: string, now: Date): Promise<void> {
  await db.run('UPDATE file_uses SET unproven_since = ? WHERE message = ?', [now, message])
}

/** The rows of the files first, as whoever writes a use down does; and how many uses each has left, of those whose rows are held. */
async function removing(db: Db, files: readonly string[], now: Date, remove: () => Promise<unknown>): Promise<void> {
  await db.select('SELECT id FROM files WHERE id IN (?) ORDER BY id FOR UPDATE', [[...files]])
  await remove()
  await db.run(
    `UPDATE files AS f SET f.uses = (SELECT COUNT(*) FROM file_uses AS l WHERE l.file = f.id),
      f.unused_since = IF((SELECT COUNT(*) FROM file_uses AS l WHERE l.file = f.id) = 0, ?, NULL) WHERE f.id IN (?)`,
    [now, [...files]],
  )
}
