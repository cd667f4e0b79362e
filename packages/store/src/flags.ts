/** What a user has set for a conversation, and nobody else sees. */
import { and, eq, inArray } from 'drizzle-orm'
import type { Store } from './db.js'
import { conversationFlags } from './schema.js'

/** Muted without an end: a time that never comes, and that fits into a number. */
export const MUTED_FOR_EVER = Number.MAX_SAFE_INTEGER

export interface Flags {
  /** Milliseconds since 1970; 0: not muted. */
  mutedUntil: number
  pinned: boolean
}

export const NO_FLAGS: Flags = { mutedUntil: 0, pinned: false }

/** Sets what is given; the rest stays. @returns the flags as they are now @throws AppError `unavailable`: repeat it */
export async function setFlags(
  store: Store,
  user: string,
  conversation: string,
  wanted: Partial<Flags>,
  now: Date,
): Promise<Flags> {
  return store.use(async ({ orm }) => {
    const row = { ...NO_FLAGS, ...wanted, user, conversation, updatedAt: now }
    await orm
      .insert(conversationFlags)
      .values(row)
      .onDuplicateKeyUpdate({ set: { ...wanted, updatedAt: now } })
    const of = and(eq(conversationFlags.user, user), eq(conversationFlags.conversation, conversation))
    const [set = NO_FLAGS] = await orm.select().from(conversationFlags).where(of)
    return { mutedUntil: set.mutedUntil, pinned: set.pinned }
  })
}

/** The flags of a user by conversation; those without any are left out. Index: conversation_flags_pk. @throws AppError `unavailable` */
export async function flagsOf(
  store: Store,
  user: string,
  conversations: readonly string[],
): Promise<Map<string, Flags>> {
  if (conversations.length === 0) return new Map()
  const rows = await store.use(({ orm }) =>
    orm
      .select()
      .from(conversationFlags)
      .where(and(eq(conversationFlags.user, user), inArray(conversationFlags.conversation, [...conversations]))),
  )
  return new Map(rows.map(({ conversation, mutedUntil, pinned }) => [conversation, { mutedUntil, pinned }]))
}

/** What a user has pinned. Index: conversation_flags_pk, as many rows as the user has set flags. @throws AppError `unavailable` */
export async function pinnedBy(store: Store, user: string): Promise<Set<string>> {
  const rows = await store.use(({ orm }) =>
    orm
      .select({ conversation: conversationFlags.conversation })
      .from(conversationFlags)
      .where(and(eq(conversationFlags.user, user), eq(conversationFlags.pinned, true))),
  )
  return new Set(rows.map(({ conversation }) => conversation))
}
