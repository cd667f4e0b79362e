/** Who is in which conversation. For dm and feed it follows from the name; the row lets a user's conversations be listed. */
import { parseConversation } from '@tidings/protocol'
import { and, asc, eq, gt, ne, or } from 'drizzle-orm'
import type { Db, Store } from './db.js'
import { conversationMembers } from './schema.js'

/** Rows that conversations need by their names alone. */
function rowsOf(conversations: readonly string[]): [user: string, conversation: string, kind: string][] {
  const rows: [string, string, string][] = []
  for (const id of new Set(conversations)) {
    const conversation = parseConversation(id)
    if (conversation?.kind === 'dm') for (const user of new Set(conversation.users)) rows.push([user, id, 'dm'])
    if (conversation?.kind === 'feed') rows.push([conversation.user, id, 'feed'])
  }
  return rows.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] < b[1] ? -1 : 1))
}

/** Lists the parties of dm and feed conversations; those that are listed stay as they are. Sorted by key, against deadlocks. */
export async function addMembers(db: Db, conversations: readonly string[]): Promise<void> {
  const rows = rowsOf(conversations)
  if (rows.length === 0) return
  const now = new Date()
  // Here a duplicate is the same fact once more, so it may be passed over; the clause changes nothing.
  await db.run(
    `INSERT INTO conversation_members (user, conversation, kind, created_at) VALUES ?
      ON DUPLICATE KEY UPDATE conversation = VALUES(conversation)`,
    [rows.map((row) => [...row, now])],
  )
}

/** The conversations that a user is in; rooms from the entry on that says so. Index: conversation_members_pk. @throws AppError `unavailable` */
export async function conversationsOf(store: Store, user: string): Promise<string[]> {
  const rows = await store.use(({ orm }) =>
    orm
      .select({ conversation: conversationMembers.conversation })
      .from(conversationMembers)
      .where(
        and(
          eq(conversationMembers.user, user),
          or(ne(conversationMembers.kind, 'room'), gt(conversationMembers.joinedSeq, 0)),
        ),
      )
      .orderBy(asc(conversationMembers.conversation)),
  )
  return rows.map((row) => row.conversation)
}
