/** Up to where people have read, where Redis does not know it any more. */
import { and, eq, inArray } from 'drizzle-orm'
import type { Store } from './db.js'
import { reads } from './schema.js'

export interface ReadPosition {
  seq: number
  /** How many messages there are up to seq. */
  n: number
}

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
