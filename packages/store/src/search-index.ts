/**
 * Putting the words of stored messages into the index, behind the back of persist: it reads `entries` and writes nothing that anybody
 * waits for. Per conversation `search_heads` says up to where that is done; it rises with the rows in one transaction, which holds the job.
 */
import { type Db, type Store, transaction } from './db.js'
import { holdJob, type Job } from './jobs.js'
import { conversationToken } from './search.js'
import { wordsOf } from './search-words.js'

/** Words of one message; more than any content can hold that is not made for it. */
const MOST_WORDS = 6_000

/** A place of an entry, as the index of ids has it. */
export interface Place {
  id: string
  conversation: string
  seq: number
}

// Index: entries_id, a range in its own order; each of its items has conversation and seq in it ("Using index").
const PLACES = 'SELECT id, conversation, seq FROM entries FORCE INDEX (entries_id) WHERE id > ? ORDER BY id LIMIT ?'

/** Entries above an id, in the order of ids, which is nearly that of their storing. @throws AppError `unavailable` */
export async function placesAfter(store: Store, id: string, limit: number): Promise<Place[]> {
  const rows = await store.use((db) =>
    db.select<{ id: string; conversation: string; seq: string }>(PLACES, [id, limit]),
  )
  return rows.map((row) => ({ id: String(row.id), conversation: row.conversation, seq: Number(row.seq) }))
}

// Index: entries_pk, one jump per conversation; then search_heads by its key.
const BEHIND = `SELECT e.conversation, e.seq > COALESCE(h.seq, 0) AS behind
  FROM (SELECT conversation, MAX(seq) AS seq FROM entries WHERE conversation > ? GROUP BY conversation ORDER BY conversation LIMIT ?) AS e
  LEFT JOIN search_heads AS h ON h.conversation = e.conversation ORDER BY e.conversation`

/**
 * A page of all conversations, by name: those whose rows reach further than the index.
 * @returns `last` for the next page, undefined at the end
 * @throws AppError `unavailable`
 */
export async function conversationsBehind(
  store: Store,
  after: string,
  limit: number,
): Promise<{ behind: string[]; last: string | undefined }> {
  const rows = await store.use((db) => db.select<{ conversation: string; behind: number }>(BEHIND, [after, limit]))
  return {
    behind: rows.flatMap(({ conversation, behind }) => (Number(behind) === 1 ? [conversation] : [])),
    last: rows.length < limit ? undefined : rows.at(-1)!.conversation,
  }
}

/** What is done in a transaction. */
export interface Indexed {
  /** The new heads of the index, by conversation. */
  heads: Map<string, number>
  /** Conversations in which something lies between their head of the index and these places: they are to be gone through one by one. */
  gaps: Set<string>
  /** Rows that were read. */
  rows: number
}

export interface TextRow {
  conversation: string
  seq: string
  id: string | null
  type: string
  content: string
  from_user: string
  sent_at: string
}

// Held until the words are in: what retention removes meanwhile waits, and takes the words along. Indexes: entries_id; entries_pk.
const TEXT = 'conversation, seq, id, type, content, from_user, sent_at'
const BY_IDS = `SELECT ${TEXT} FROM entries WHERE id IN (?) ORDER BY conversation, seq LOCK IN SHARE MODE`
const ABOVE = `SELECT ${TEXT} FROM entries WHERE conversation = ? AND seq > ? ORDER BY seq LIMIT ? LOCK IN SHARE MODE`

/**
 * Puts entries into the index that follow on what is there of their conversations.
 * @returns undefined when the job is another's: nothing was written
 * @throws AppError `unavailable`: repeat it
 */
export async function indexPlaces(store: Store, job: Job, places: readonly Place[]): Promise<Indexed | undefined> {
  return transaction(store, async (db) => {
    if (!(await holdJob(db, job))) return undefined
    const heads = await headsOf(db, [...new Set(places.map(({ conversation }) => conversation))])
    const rows = await db.select<TextRow>(BY_IDS, [places.map(({ id }) => id)])
    const gaps = new Set<string>()
    const reached = new Map<string, number>()
    const following = rows.filter(({ conversation, seq }) => {
      const head = reached.get(conversation) ?? heads.get(conversation) ?? 0
      if (Number(seq) > head + 1) gaps.add(conversation)
      if (gaps.has(conversation) || Number(seq) <= head) return false
      reached.set(conversation, Number(seq))
      return true
    })
    await write(db, following, reached)
    return { heads: reached, gaps, rows: rows.length }
  })
}

/**
 * Puts the next entries of one conversation into the index, whatever lies between them.
 * @returns undefined when the job is another's; `rows` less than the limit: the end was reached
 * @throws AppError `unavailable`: repeat it
 */
export async function indexConversation(
  store: Store,
  job: Job,
  conversation: string,
  limit: number,
): Promise<Indexed | undefined> {
  return transaction(store, async (db) => {
    if (!(await holdJob(db, job))) return undefined
    const head = (await headsOf(db, [conversation])).get(conversation) ?? 0
    const rows = await db.select<TextRow>(ABOVE, [conversation, head, limit])
    const reached = new Map(rows.length === 0 ? [] : [[conversation, Number(rows.at(-1)!.seq)]])
    await write(db, rows, reached)
    return { heads: reached, gaps: new Set<string>(), rows: rows.length }
  })
}

async function headsOf(db: Db, conversations: readonly string[]): Promise<Map<string, number>> {
  const rows = await db.select<{ conversation: string; seq: string }>(
    'SELECT conversation, seq FROM search_heads WHERE conversation IN (?)',
    [conversations],
  )
  return new Map(rows.map(({ conversation, seq }) => [conversation, Number(seq)]))
}

async function write(db: Db, rows: readonly TextRow[], heads: ReadonlyMap<string, number>): Promise<void> {
  const values = rows.flatMap((row) => {
    const words = row.id === null ? '' : indexedWords(row)
    return words === '' ? [] : [[row.conversation, row.seq, row.id, row.from_user, row.sent_at, words]]
  })
  if (values.length > 0) {
    await db.run(
      `INSERT INTO search_entries (conversation, seq, id, from_user, sent_at, words) VALUES ?
        ON DUPLICATE KEY UPDATE words = VALUES(words)`,
      [values],
    )
  }
  if (heads.size === 0) return
  await db.run(
    'INSERT INTO search_heads (conversation, seq) VALUES ? ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))',
    [[...heads].sort()],
  )
}

/**
 * The words of a message that says something else by now, or nothing: in the transaction that changes it. What the index has not come to
 * yet it will find as it is then. Indexes: the primary keys.
 */
export async function reindex(db: Db, row: TextRow): Promise<void> {
  const { conversation, seq, id, from_user, sent_at } = row
  const words = indexedWords(row)
  if (words === '') {
    await db.run('DELETE FROM search_entries WHERE conversation = ? AND seq = ?', [conversation, seq])
    return
  }
  await db.run(
    `INSERT INTO search_entries (conversation, seq, id, from_user, sent_at, words)
      SELECT ?, ?, ?, ?, ?, ? FROM search_heads WHERE conversation = ? AND seq >= ? ON DUPLICATE KEY UPDATE words = ?`,
    [conversation, seq, id, from_user, sent_at, words, conversation, seq, words],
  )
}

function indexedWords(row: Pick<TextRow, 'conversation' | 'type' | 'content'>): string {
  const words = wordsOf(searchableText(row)).slice(0, MOST_WORDS)
  if (words.length === 0) return ''
  return [conversationToken(row.conversation), ...words.map(({ token }) => token)].join(' ')
}

/** What of a message can be searched for: the text of a text, the name and the text of a file or an image; '' of all else. */
export function searchableText({ type, content }: { type: string; content: string }): string {
  if (type !== 'text' && type !== 'file' && type !== 'image') return ''
  const { name, text } = (content === '' ? {} : JSON.parse(content)) as { name?: unknown; text?: unknown }
  const parts = type === 'text' ? [text] : [name, text]
  return parts.filter((part) => typeof part === 'string').join('\n')
}

/** For the tests that read EXPLAIN. */
export const searchIndexSql = { places: PLACES, behind: BEHIND }
