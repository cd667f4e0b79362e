/** Up to where people have read, as written behind from Redis. */
import { and, eq, inArray } from 'drizzle-orm'
import { by, inChunks } from './chunks.js'
import { type Db, type Store, transaction } from './db.js'
import { reads } from './schema.js'

export interface ReadPosition {
  seq: number
  /** How many messages there are up to seq. */
  n: number
}

export interface Read extends ReadPosition {
  user: string
  conversation: string
}

/**
 * Stores read positions; each moves forward only. Sorted by key, against deadlocks.
 * @throws AppError `unavailable`: some may have been stored; repeat all
 */
export async function saveReads(store: Store, moved: readonly Read[]): Promise<void> {
  const now = new Date()
  const sorted = [...moved].sort(by('user', 'conversation'))
  await inChunks(sorted, (chunk) => transaction(store, (db) => raiseReads(db, chunk, now)))
}

// The seq last: the assignments run in order, and the others compare with the seq before.
const raiseReads = (db: Db, chunk: Read[], now: Date): Promise<number> =>
  db.run(
    `INSERT INTO \`reads\` (user, conversation, seq, n, updated_at) VALUES ?
      ON DUPLICATE KEY UPDATE updated_at = IF(VALUES(seq) > seq, VALUES(updated_at), updated_at),
        n = IF(VALUES(seq) > seq, VALUES(n), n), seq = GREATEST(seq, VALUES(seq))`,
    [chunk.map(({ user, conversation, seq, n }) => [user, conversation, seq, n, now])],
  )

/** The read positions of a user by conversation; those unknown are left out. Index: reads_pk. @throws AppError `unavailable` */
export async function readPositions(
  store: Store,
  user: string,
  conversations: readonly string[],
): Promise<Map<string, ReadPosition>> {
  if (conversations.length === 0) return new Map()
  const rows = await store.use(({ orm }) =>
    orm
      .select()
      .from(reads)
      .where(and(eq(reads.user, user), inArray(reads.conversation, [...conversations]))),
  )
  return new Map(rows.map(({ conversation, seq, n }) => [conversation, { seq, n }]))
}

/** When the read position of a user in a conversation moved last. Index: reads_pk. @throws AppError `unavailable` */
export async function readMovedAt(store: Store, user: string, conversation: string): Promise<Date | undefined> {
  const rows = await store.use(({ orm }) =>
    orm
      .select({ updatedAt: reads.updatedAt })
      .from(reads)
      .where(and(eq(reads.user, user), eq(reads.conversation, conversation))),
  )
  return rows[0]?.updatedAt
}
