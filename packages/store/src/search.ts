/** Messages by their words: what is found is above all what one may read. */
import { createHash } from 'node:crypto'
import type { Store } from './db.js'
import type { Term } from './search-words.js'

/** A conversation that is searched. */
export interface Searched {
  conversation: string
  /** What is above it may be read. */
  floor: number
}

export interface SearchQuestion {
  terms: readonly Term[]
  /** A few hundred at most. */
  within: readonly Searched[]
  from?: string | undefined
  /** Sent before or after, in milliseconds since 1970; both ends excluded. */
  before?: number | undefined
  after?: number | undefined
  /** Nothing newer than this id. */
  upToId: string
  limit: number
  /** After so long the database gives up: the words are too common. */
  giveUpMs: number
}

export interface FoundEntry {
  conversation: string
  seq: number
  id: string
  /** The higher, the better; comparable between questions with the same terms. */
  score: number
}

/** Stands among the words of each message of a conversation, so that the index itself finds those that are asked for. */
export const conversationToken = (conversation: string): string =>
  `cnv${createHash('sha256').update(conversation).digest('hex').slice(0, 16)}`

const wordsFor = (terms: readonly Term[]): string =>
  terms.map(({ token, prefix }) => `+${token}${prefix ? '*' : ''}`).join(' ')

/**
 * Index: search_entries_words, forced: for one conversation the server would rather go through all of it. The score is of the words alone: how rare a conversation is says nothing. MariaDB has its bound in a
 * comment of its own, MySQL in a hint.
 */
const searchSql = (
  giveUpMs: number,
  more: string,
): string => `/*M! SET STATEMENT max_statement_time=${giveUpMs / 1_000} FOR */
  SELECT /*+ MAX_EXECUTION_TIME(${giveUpMs}) */ conversation, seq, id, MATCH(words) AGAINST (? IN BOOLEAN MODE) AS score
  FROM search_entries FORCE INDEX (search_entries_words)
  WHERE MATCH(words) AGAINST (? IN BOOLEAN MODE) AND conversation IN (?) AND id <= ?${more}
  ORDER BY score DESC, id DESC LIMIT ?`

/** The best entries, of equals the newest. @throws AppError `unavailable`, also when it takes too long */
export async function searchEntries(store: Store, question: SearchQuestion): Promise<FoundEntry[]> {
  const { terms, within, from, before, after, upToId, limit, giveUpMs } = question
  if (terms.length === 0 || within.length === 0) return []
  const conversations = within.map(({ conversation }) => conversation)
  const words = wordsFor(terms)
  const values: (string | number | string[])[] = [
    words,
    `+(${conversations.map(conversationToken).join(' ')}) ${words}`,
    conversations,
    upToId,
  ]
  let more = ''
  function add(condition: string, ...its: (string | number)[]): void {
    more += ` AND ${condition}`
    values.push(...its)
  }
  if (from !== undefined) add('from_user = ?', from)
  if (before !== undefined) add('sent_at < ?', before)
  if (after !== undefined) add('sent_at > ?', after)
  for (const { conversation, floor } of within)
    if (floor > 0) add('NOT (conversation = ? AND seq <= ?)', conversation, floor)
  const rows = await store.use((db) =>
    db.select<{ conversation: string; seq: string; id: string; score: number }>(searchSql(giveUpMs, more), [
      ...values,
      limit,
    ]),
  )
  return rows.map(({ conversation, seq, id, score }) => ({ conversation, seq: Number(seq), id: String(id), score }))
}

/** Up to where the words of conversations are in the index; those of which none are, are left out. @throws AppError `unavailable` */
export async function searchedUpTo(store: Store, conversations: readonly string[]): Promise<Map<string, number>> {
  if (conversations.length === 0) return new Map()
  // Index: the primary key.
  const rows = await store.use((db) =>
    db.select<{ conversation: string; seq: string }>(
      'SELECT conversation, seq FROM search_heads WHERE conversation IN (?)',
      [[...conversations]],
    ),
  )
  return new Map(rows.map(({ conversation, seq }) => [conversation, Number(seq)]))
}

/** For the test that reads EXPLAIN. */
export const searchSqlForTests = searchSql(2_000, '')
