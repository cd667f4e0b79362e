/** The conversations of a user, newest first. A room is there while the user is in it. */
import { AppError, type Entry, EVERYONE, isChange, type logicRpc, parseConversation } from '@tidings/protocol'
import {
  findRooms,
  findUsers,
  flagsOf,
  floorsOf,
  NO_FLAGS,
  newestEntries,
  newestMessage,
  pinnedBy,
  type Store,
} from '@tidings/store'
import { GENERATION_SEQS, type Keys, type LogReader, type Redis } from '@tidings/stream'
import type { Devices } from './devices.js'
import { toHistoryEntry } from './history.js'
import { limitOf, userOf } from './input.js'
import { countUpTo, readUpTo } from './reads.js'
import { type MembershipDeps, membershipsOf } from './rooms/membership.js'
import type { WriteBehind } from './write-behind.js'

const LIMIT = { default: 50, max: 100 }
/** Conversations in one round trip. */
const CHUNK = 200
/** Entries of a log among which the last message is looked for at once, where changes of others follow it. */
const PAST_CHANGES = 100

export interface ConversationDeps extends MembershipDeps {
  redis: Redis
  keys: Keys
  store: Store
  reader: LogReader
  devices: Devices
  writeBehind: WriteBehind
}

/** A conversation's place in the list: by its last message, then by name. An edit or a reaction does not move it. */
interface Place {
  /** Snowflake of the last message, '' where there is none. */
  last: string
  conversation: string
}

interface Listed extends Place {
  head: number
  /** n at the head. */
  n: number
  message: Entry | undefined
}

/** Where a user begins in a conversation, where that is not at 0: what is up to `readTo` counts as read. */
type Places = Map<string, { readTo: number; floor: number }>

/** @throws AppError `invalid_request`, `unavailable` when Redis or MySQL is away: never a part of the list */
export async function listConversations(
  deps: ConversationDeps,
  request: logicRpc.ListConversationsRequest,
): Promise<logicRpc.ListConversationsResponse> {
  const user = userOf(request.user)
  const limit = limitOf(request.limit, LIMIT)
  const after = request.cursor === '' ? undefined : decodeCursor(request.cursor)
  const all = await deps.devices.conversationsOf(user)
  const { pinned } = request
  const marked = pinned === undefined ? undefined : await pinnedBy(deps.store, user)
  const conversations = marked ? all.filter((one) => marked.has(one) === pinned) : all
  const memberships = await membershipsOf(deps, user, conversations)
  const places: Places = new Map([...memberships].map(([room, { joined, floor }]) => [room, { readTo: joined, floor }]))
  const feedStart = await deps.broadcasts.startOf(user)
  places.set(EVERYONE, { readTo: feedStart, floor: feedStart })
  const found = await withNewest(
    deps,
    conversations.filter((one) => kindOf(one) !== 'room' || memberships.has(one)),
    places,
  )
  // What was pushed to everyone before the user was there makes no conversation.
  const listed = found.filter(({ conversation, head }) => conversation !== EVERYONE || head > feedStart)
  const order = request.byName ? byName : newestFirst
  listed.sort(order)
  const rest = after ? listed.filter((one) => order(after, one) < 0) : listed
  const page = rest.slice(0, limit)
  const last = page.at(-1)
  return {
    conversations: await toViews(deps, user, page, places),
    nextCursor: last && rest.length > limit ? encodeCursor(last) : '',
  }
}

/** Snowflakes are decimals without leading zeros: the longer one is the larger one. */
const compareIds = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)

const byName = (a: Place, b: Place): number =>
  a.conversation < b.conversation ? -1 : a.conversation > b.conversation ? 1 : 0

const newestFirst = (a: Place, b: Place): number => compareIds(b.last, a.last) || byName(a, b)

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
async function withNewest(deps: ConversationDeps, conversations: readonly string[], places: Places): Promise<Listed[]> {
  const { reader, store } = deps
  const from = async (conversation: string, head: number, newest: Entry): Promise<Listed> => {
    const isMessage = newest.type !== 'void' && !isChange(newest.type)
    const floor = places.get(conversation)?.floor ?? 0
    const message = isMessage ? newest : await messageBelow(deps, conversation, head, newest.type !== 'void', floor)
    return { conversation, last: message?.id ?? '', head, n: newest.n, message }
  }
  const listed: Listed[] = []
  const missing: string[] = []
  for (let at = 0; at < conversations.length; at += CHUNK) {
    const chunk = conversations.slice(at, at + CHUNK)
    const newest = await reader.newest(chunk)
    for (const [i, conversation] of chunk.entries()) {
      const entry = newest[i]
      if (!entry) missing.push(conversation)
      else listed.push(await from(conversation, entry.seq, entry))
    }
  }
  for (let at = 0; at < missing.length; at += CHUNK) {
    for (const [conversation, { entry, void: range }] of await newestEntries(store, missing.slice(at, at + CHUNK))) {
      listed.push(await from(conversation, range?.to ?? entry.seq, entry))
    }
  }
  return listed
}

/**
 * A conversation that ends in a void, or in changes of what was said before, is listed by the last message that a person can see.
 * @param inLog it may lie in the log; what is below a void does not
 */
async function messageBelow(
  { reader, store }: ConversationDeps,
  conversation: string,
  head: number,
  inLog: boolean,
  floor: number,
): Promise<Entry | undefined> {
  let before = inLog ? head : head + 1
  while (inLog && before > floor + 1) {
    const entries = await reader.before(conversation, before, PAST_CHANGES)
    const found = entries.findLast(({ type }) => !isChange(type))
    // Below a void, or a hole, only MySQL tells.
    if (found && found.type !== 'void') return found.seq > floor ? found : undefined
    if (entries.length === 0 || found) break
    before = entries[0]!.seq
  }
  const stored = await newestMessage(store, conversation, { below: before, above: floor })
  return stored && (await reader.foldStored([stored]))[0]
}

async function toViews(
  deps: ConversationDeps,
  user: string,
  page: readonly Listed[],
  places: Places,
): Promise<logicRpc.ConversationView[]> {
  const conversations = page.map(({ conversation }) => conversation)
  const [delivered, read, titles, flags, floors] = await Promise.all([
    deps.devices.delivered(user, conversations),
    readUpTo(deps, user, conversations),
    titlesOf(deps.store, user, conversations),
    flagsOf(deps.store, user, conversations),
    floorsOf(deps.store, conversations),
  ])
  // What was there before one joined is read, also when nobody remembers that it was said so.
  const readUpToSeq = page.map(({ conversation }, i) => Math.max(read[i]!.seq, places.get(conversation)?.readTo ?? 0))
  const counted = await Promise.all(
    page.map(({ conversation, head }, i) => {
      const { seq, n } = read[i]!
      const upTo = readUpToSeq[i]!
      return seq < upTo || leaptBetween(seq, head) ? countUpTo(deps, conversation, upTo) : n
    }),
  )
  return page.map(({ conversation, head, n, message }, i) => ({
    id: conversation,
    kind: kindOf(conversation),
    title: titles[i]!,
    head,
    delivered: Math.min(delivered[i]!, head),
    read: readUpToSeq[i]!,
    // Nobody can read any more what was removed for its age.
    unread: Math.max(0, n - Math.max(counted[i]!, floors.get(conversation)?.n ?? 0)),
    lastMessage: message && toHistoryEntry(message),
    ...(flags.get(conversation) ?? NO_FLAGS),
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
  const subjects = conversations.map((id) => {
    const conversation = parseConversation(id)
    if (conversation?.kind === 'room') return conversation.room
    if (conversation?.kind !== 'dm') return undefined
    return conversation.users[0] === user ? conversation.users[1] : conversation.users[0]
  })
  const ofKind = (kind: string): string[] => [
    ...new Set(subjects.filter((one, i): one is string => one !== undefined && kindOf(conversations[i]!) === kind)),
  ]
  const [users, rooms] = await Promise.all([findUsers(store, ofKind('dm')), findRooms(store, ofKind('room'))])
  const names = {
    dm: new Map(users.map(({ id, displayName }) => [id, displayName])),
    room: new Map(rooms.map(({ id, name }) => [id, name])),
  }
  return subjects.map((subject, i) => {
    const id = conversations[i]!
    if (subject === undefined) return id
    return names[kindOf(id) === 'room' ? 'room' : 'dm'].get(subject) ?? subject
  })
}
