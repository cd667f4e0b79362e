/** The ledger of generations: under which number each partition was last opened for appends. Kept here, for Redis may forget it. */
import { ER_DUPLICATE, errnoOf } from './away.js'
import { type Db, type Store, transaction } from './db.js'
import { raiseAllFences } from './fences.js'

/** Clocks of our processes and of MySQL may differ by this much. */
const MARGIN_SECONDS = 5

export interface GenerationRow {
  /** The highest number that was ever given. */
  number: number
  /** The word of a clean stop that was not opened since, or ''. */
  closed: string
}

export interface GenerationLedger {
  /** @throws AppError `unavailable` */
  read(): Promise<GenerationRow | undefined>
  /**
   * A row under a new number begins now; unless it is the first, it raises the partition's fences in the same transaction: what a worker
   * has in hand may be forgotten by Redis and declared void, so it must not be stored any more, unless it is read again.
   * @param seen what the caller read; undefined for no row
   * @returns false, with nothing written, when it is not so any more
   * @throws AppError `unavailable`
   */
  write(seen: GenerationRow | undefined, row: GenerationRow): Promise<boolean>
}

/** A partition's row. Index: partition_generations_partition_no. */
export function generationLedger(store: Store, partition: number): GenerationLedger {
  return {
    read: () =>
      store.use(async (db) => {
        const [row] = await db.select<{ number: string; closed: string }>(
          'SELECT number, closed FROM partition_generations WHERE partition_no = ?',
          [partition],
        )
        return row && { number: Number(row.number), closed: row.closed }
      }),
    write: (seen, { number, closed }) =>
      transaction(store, async (db) => {
        const written = seen
          ? await updateRow(db, partition, seen, { number, closed })
          : await insertRow(db, partition, number, closed)
        if (written && number > (seen?.number ?? 1)) await raiseAllFences(db, partition)
        return written
      }),
  }
}

/** The highest number that each partition was given. @throws AppError `unavailable` */
export async function generationNumbers(store: Store): Promise<Map<number, number>> {
  const rows = await store.use((db) =>
    db.select<{ partition_no: number; number: string }>('SELECT partition_no, number FROM partition_generations', []),
  )
  return new Map(rows.map((row) => [row.partition_no, Number(row.number)]))
}

async function updateRow(db: Db, partition: number, seen: GenerationRow, row: GenerationRow): Promise<boolean> {
  // The time first: the assignments run in order, and it compares with the number before.
  const changed = await db.run(
    `UPDATE partition_generations SET began_at = IF(? > number, NOW(3), began_at), number = ?, closed = ?
      WHERE partition_no = ? AND number = ? AND closed = ?`,
    [row.number, row.number, row.closed, partition, seen.number, seen.closed],
  )
  return changed === 1
}

async function insertRow(db: Db, partition: number, number: number, closed: string): Promise<boolean> {
  try {
    await db.run(
      'INSERT INTO partition_generations (partition_no, number, closed, began_at) VALUES (?, ?, ?, NOW(3))',
      [partition, number, closed],
    )
    return true
  } catch (error) {
    if (errnoOf(error) === ER_DUPLICATE) return false
    throw error
  }
}

export interface Send {
  id: string
  seq: number
  from: string
  type: string
  content: string
  clientId: string
  sentAt: number
  /** Its content is not what was sent. */
  changed: boolean
}

/**
 * The newest sends of a conversation that carried a clientId, newest first. Index: entries_pk.
 * @param range with a seq above `above`, sent after `since` (milliseconds since 1970), at most `limit`
 * @throws AppError `unavailable`
 */
export async function newestSends(
  store: Store,
  conversation: string,
  { above, since, limit }: { above: number; since: number; limit: number },
): Promise<Send[]> {
  const rows = await store.use((db) =>
    db.select<{
      id: string
      seq: string
      from_user: string
      type: string
      content: string
      client_id: string
      sent_at: string
      fold: string | null
    }>(
      `SELECT id, seq, from_user, type, content, client_id, sent_at, fold FROM entries
        WHERE conversation = ? AND seq > ? AND id IS NOT NULL ORDER BY seq DESC LIMIT ?`,
      [conversation, above, limit],
    ),
  )
  return rows
    .filter((row) => row.client_id !== '' && Number(row.sent_at) >= since)
    .map((row) => ({
      id: row.id,
      seq: Number(row.seq),
      from: row.from_user,
      type: row.type,
      content: row.content,
      clientId: row.client_id,
      sentAt: Number(row.sent_at),
      changed: row.fold !== null,
    }))
}

/**
 * Did one of these people appear after the partition's generation began? Then no conversation of theirs can be older. Indexes: users_id, partition_generations_partition_no.
 * @throws AppError `unavailable`
 */
export async function anyNewerThanGeneration(
  store: Store,
  partition: number,
  users: readonly string[],
): Promise<boolean> {
  const [row] = await store.use((db) =>
    db.select<{ newer: string }>(
      `SELECT COUNT(*) AS newer FROM users, partition_generations
        WHERE partition_no = ? AND users.id IN (?) AND users.created_at > began_at + INTERVAL ? SECOND`,
      [partition, users, MARGIN_SECONDS],
    ),
  )
  return Number(row?.newer) > 0
}

/**
 * Was this room made after the partition's generation began? Indexes: the primary keys.
 * @throws AppError `unavailable`
 */
export async function isRoomNewerThanGeneration(store: Store, partition: number, room: string): Promise<boolean> {
  const [row] = await store.use((db) =>
    db.select<{ newer: string }>(
      `SELECT COUNT(*) AS newer FROM rooms, partition_generations
        WHERE partition_no = ? AND rooms.id = ? AND rooms.created_at > began_at + INTERVAL ? SECOND`,
      [partition, room, MARGIN_SECONDS],
    ),
  )
  return Number(row?.newer) > 0
}

/**
 * Conversations that got a row lately, with their highest seq. Index: entries_id, for ids rise with time.
 * @param sinceId Snowflake, decimal
 * @throws AppError `unavailable`
 */
export async function conversationsSince(
  store: Store,
  sinceId: string,
  limit: number,
): Promise<{ conversation: string; seq: number }[]> {
  const rows = await store.use((db) =>
    db.select<{ conversation: string; seq: string }>(
      'SELECT conversation, MAX(seq) AS seq FROM entries WHERE id >= ? GROUP BY conversation LIMIT ?',
      [sinceId, limit],
    ),
  )
  return rows.map(({ conversation, seq }) => ({ conversation, seq: Number(seq) }))
}

/**
 * Conversations in the order of their names, with their highest seq. Index: entries_pk, one jump per conversation.
 * @param after the last name of the page before, '' for the first page
 * @throws AppError `unavailable`
 */
export async function conversationsAfter(
  store: Store,
  after: string,
  limit: number,
): Promise<{ conversation: string; seq: number }[]> {
  const rows = await store.use((db) =>
    db.select<{ conversation: string; seq: string }>(
      `SELECT conversation, MAX(seq) AS seq FROM entries WHERE conversation > ?
        GROUP BY conversation ORDER BY conversation LIMIT ?`,
      [after, limit],
    ),
  )
  return rows.map(({ conversation, seq }) => ({ conversation, seq: Number(seq) }))
}

export interface SentEntry {
  conversation: string
  seq: number
  id: string
}

export type Fate = 'stored' | 'void' | 'unknown'

/**
 * What became of entries, by id at their place. An entry's place is void once persist has passed the leap that covers it. Index:
 * entries_pk, a jump per entry.
 * @throws AppError `unavailable`
 */
export async function fatesOf(store: Store, entries: readonly SentEntry[]): Promise<Fate[]> {
  return store.use(async (db) => {
    const fates: Fate[] = []
    for (const { conversation, seq, id } of entries) {
      const [row] = await db.select<{ seq: string; id: string | null; void_from: string | null }>(
        'SELECT seq, id, void_from FROM entries WHERE conversation = ? AND seq >= ? ORDER BY seq LIMIT 1',
        [conversation, seq],
      )
      if (row && Number(row.seq) === seq && row.id === id) fates.push('stored')
      else fates.push(row?.void_from != null && Number(row.void_from) <= seq ? 'void' : 'unknown')
    }
    return fates
  })
}
