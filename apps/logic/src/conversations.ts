/** The conversations of a user, newest first. */
import { AppError, type Entry, type logicRpc, parseConversation } from '@tidings/protocol'
import { findUsers, newestEntries, readEntries, type Store } from '@tidings/store'
import { GENERATION_SEQS, type Keys, type LogReader, type Redis } from '@tidings/stream'
import type { Devices } from './devices.js'
import { toHistoryEntry } from './history.js'
import { limitOf, userOf } from './input.js'
import { countUpTo, readUpTo } from './reads.js'
import type { WriteBehind } from './write-behind.js'

const LIMIT = { default: 50, max: 100 }
/** Conversations in one round trip. */
const CHUNK = 200
/** How far below a void its conversation's last message is looked for. */
const PAST_VOIDS = 20

export interface ConversationDeps {
  redis: Redis
  keys: Keys
  store: Store
  reader: LogReader
  devices: Devices
  writeBehind: WriteBehind
}

/** A conversation's place in the list: by its last entry, then by name. */
interface Place {
  /** Snowflake of the last entry, '' where there are voids only. */
  last: string
  conversation: string
}

interface Listed extends Place {
  head: number
  /** n at the head. */
  n: number
  message: Entry | undefined
}

/** @throws AppError `invalid_request`, `unavailable` when Redis or MySQL is away: never a part of the list */
export async function listConversations(
  deps: ConversationDeps,
  request: logicRpc.ListConversationsRequest,
): Promise<logicRpc.ListConversationsResponse> {
  const user = userOf(request.user)
  const limit = limitOf(request.limit, LIMIT)
  const after = request.cursor === '' ? undefined : decodeCursor(request.cursor)
  const listed = await withNewest(deps, await deps.devices.conversationsOf(user))
  listed.sort(newestFirst)
  const rest = after ? listed.filter((one) => newestFirst(after, one) < 0) : listed
  const page = rest.slice(0, limit)
  const last = page.at(-1)
  return {
    conversations: await toViews(deps, user, page),
    nextCursor: last && rest.length > limit ? encodeCursor(last) : '',
  }
}

/** Snowflakes are decimals without leading zeros: the longer one is the larger one. */
const compareIds = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)

const newestFirst = (a: Place, b: Place): number =>
  compareIds(b.last, a.last) || (a.conversation < b.conversation ? -1 : a.conversation > b.conversation ? 1 : 0)

const encodeCursor = ({ last, conversation }: Place): string =>
  Buffer.from(`${last}\n${conversation}`).toString('base64url')

function decodeCursor(cursor: string): Place {
  const [last = '', conversation = '', ...more] =
    cursor.length > 400 ? [] : Buffer.from(cursor, 'base64url').toString().split('\n')
  if (!/^\d{0,20}$/.test(last) || !parseConversation(conversation) || more.length > 0) {
    throw new AppError('invalid_request', 'cursor is not one that a page of this list ended with.')
  }
  return { last, conversation }
}

/** Every conversation that has an entry, with its newest. */
async function withNewest({ reader, store }: ConversationDeps, conversations: readonly string[]): Promise<Listed[]> {
  const listed: Listed[] = []
  const missing: string[] = []
  for (let at = 0; at < conversations.length; at += CHUNK) {
    const chunk = conversations.slice(at, at + CHUNK)
    const newest = await reader.newest(chunk)
    for (const [i, conversation] of chunk.entries()) {
      const entry = newest[i]
      if (!entry) missing.push(conversation)
      else if (entry.type === 'void') listed.push(await belowVoids(store, conversation, entry.seq, entry.n))
      else listed.push({ conversation, last: entry.id, head: entry.seq, n: entry.n, message: entry })
    }
  }
  for (let at = 0; at < missing.length; at += CHUNK) {
    for (const [conversation, { entry, void: range }] of await newestEntries(store, missing.slice(at, at + CHUNK))) {
      if (range) listed.push(await belowVoids(store, conversation, range.to, entry.n))
      else listed.push({ conversation, last: entry.id, head: entry.seq, n: entry.n, message: entry })
    }
  }
  return listed
}

/** A conversation that ends in a void is listed by the last entry that a person can see. */
async function belowVoids(store: Store, conversation: string, head: number, n: number): Promise<Listed> {
  const rows = await readEntries(store, conversation, { before: head + 1, limit: PAST_VOIDS })
  const message = rows.findLast(({ void: range }) => !range)?.entry
  return { conversation, last: message?.id ?? '', head, n, message }
}

async function toViews(
  deps: ConversationDeps,
  user: string,
  page: readonly Listed[],
): Promise<logicRpc.ConversationView[]> {
  const conversations = page.map(({ conversation }) => conversation)
  const [delivered, read, titles] = await Promise.all([
    deps.devices.delivered(user, conversations),
    readUpTo(deps, user, conversations),
    titlesOf(deps.store, user, conversations),
  ])
  const counted = await Promise.all(
    page.map(({ conversation, head }, i) => {
      const { seq, n } = read[i]!
      return leaptBetween(seq, head) ? countUpTo(deps, conversation, seq) : n
    }),
  )
  return page.map(({ conversation, head, n, message }, i) => ({
    id: conversation,
    kind: kindOf(conversation),
    title: titles[i]!,
    head,
    delivered: Math.min(delivered[i]!, head),
    read: read[i]!.seq,
    unread: Math.max(0, n - counted[i]!),
    lastMessage: message && toHistoryEntry(message),
  }))
}

/**
 * What was read before a leap may have counted entries that were then forgotten, and are counted no more at the head. Each generation
 * has seqs of its own.
 */
const leaptBetween = (seq: number, head: number): boolean =>
  seq > 0 && Math.floor(seq / GENERATION_SEQS) !== Math.floor(head / GENERATION_SEQS)

const kindOf = (conversation: string): string => conversation.slice(0, conversation.indexOf(':'))

/** A direct conversation is called as the other person is; with oneself, as one is. */
async function titlesOf(store: Store, user: string, conversations: readonly string[]): Promise<string[]> {
  const others = conversations.map((id) => {
    const conversation = parseConversation(id)
    if (conversation?.kind !== 'dm') return undefined
    return conversation.users[0] === user ? conversation.users[1] : conversation.users[0]
  })
  const rows = await findUsers(store, [...new Set(others.filter((other) => other !== undefined))])
  const names = new Map(rows.map(({ id, displayName }) => [id, displayName]))
  return others.map((other, i) => (other === undefined ? conversations[i]! : (names.get(other) ?? other)))
}
