/** Names and ids as the contract spells them: what a user, device, client id and conversation may look like. */
import { AppError } from './errors.js'

export const USER_ID = /^[A-Za-z0-9_.@-]{1,64}$/
export const DEVICE = /^[A-Za-z0-9_.@-]{1,64}$/
export const CLIENT_ID = /^[A-Za-z0-9_.:-]{1,64}$/
export const ROOM_ID = /^[A-Za-z0-9_-]{16}$/
/** What a caller may call a request: the `x-request-id` that comes back with its answer. */
export const REQUEST_ID = /^[A-Za-z0-9_.:-]{1,128}$/
/** An application's own message type. */
export const CUSTOM_TYPE = /^x-[A-Za-z0-9_.-]{1,62}$/

/** Message types that a person may send. The others are made by the system. */
export const SENDABLE_TYPES: ReadonlySet<string> = new Set(['text', 'image', 'file'])
/** Every built-in type of an entry. */
export const ENTRY_TYPES: ReadonlySet<string> = new Set([
  'text',
  'image',
  'file',
  'system',
  'edit',
  'recall',
  'reaction',
  'void',
])

/** What a server pushes goes by the name of its service token; no user's id has a colon. */
export const SERVICE_SENDER = /^service:[A-Za-z0-9_.-]{1,56}$/
export const serviceSender = (service: string): string => `service:${service}`
export const isService = (sender: string): boolean => sender.startsWith('service:')

/** Types that a person counts as messages: they raise `n`. */
export const countsAsMessage = (type: string): boolean =>
  type === 'text' || type === 'image' || type === 'file' || type === 'system' || CUSTOM_TYPE.test(type)

export const MAX_CONTENT_BYTES = 16 * 1024
export const MAX_CONTENT_DEPTH = 32
/** A message frame: the content and a generous envelope. */
export const MAX_FRAME_BYTES = MAX_CONTENT_BYTES + 4 * 1024

/** The conversation of all users: everybody may read it from where it stood when the account was made, and only servers write there. */
export const EVERYONE = 'feed:*'
/** The notifications of one user. */
export const feedId = (user: string): string => `feed:${user}`

export type Conversation =
  | { kind: 'dm'; id: string; users: readonly [string, string] }
  | { kind: 'room'; id: string; room: string }
  | { kind: 'feed'; id: string; user: string }
  | { kind: 'everyone'; id: typeof EVERYONE }

/** Byte order, as Redis and MySQL (ascii_bin) compare. User ids are ASCII, so code units are bytes. */
const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The conversation of two users (or of one with oneself). */
export function dmId(a: string, b: string): string {
  return byBytes(a, b) <= 0 ? `dm:${a}:${b}` : `dm:${b}:${a}`
}

/** @returns the parts of a conversation id, or undefined when it is not one (an unsorted `dm:` is not one) */
export function parseConversation(id: string): Conversation | undefined {
  const parts = id.split(':')
  const [kind, first, second] = parts
  if (kind === 'dm' && parts.length === 3 && first !== undefined && second !== undefined) {
    if (!USER_ID.test(first) || !USER_ID.test(second) || byBytes(first, second) > 0) return undefined
    return { kind: 'dm', id, users: [first, second] }
  }
  if (parts.length !== 2 || first === undefined) return undefined
  if (kind === 'room' && ROOM_ID.test(first)) return { kind: 'room', id, room: first }
  if (kind === 'feed' && first === '*') return { kind: 'everyone', id: EVERYONE }
  if (kind === 'feed' && USER_ID.test(first)) return { kind: 'feed', id, user: first }
  return undefined
}

export const isRoom = (conversation: string): boolean => conversation.startsWith('room:')

/** Is this user inside the conversation by its very name? Rooms have a member list and are answered by their permit. */
export function isParty(conversation: Conversation, user: string): boolean {
  switch (conversation.kind) {
    case 'dm':
      return conversation.users[0] === user || conversation.users[1] === user
    case 'feed':
      return conversation.user === user
    case 'everyone':
      return true
    case 'room':
      return false
  }
}

/** @throws AppError `conversation_not_found`, alike for malformed, foreign and missing ones, so that nothing can be probed */
export function requireParty(id: string, user: string): Conversation {
  const conversation = parseConversation(id)
  if (!conversation || !isParty(conversation, user)) {
    throw new AppError('conversation_not_found', 'There is no such conversation, or you are not in it.')
  }
  return conversation
}

/**
 * As `requireParty`, where rooms pass: whether somebody is in a room is for logic to say.
 * @throws AppError `conversation_not_found`
 */
export function requirePossibleParty(id: string, user: string): Conversation {
  const conversation = parseConversation(id)
  return conversation?.kind === 'room' ? conversation : requireParty(id, user)
}

/** 2026-01-01: Snowflakes are good for 69 years from here. Their layout is in registry's ids.ts. */
export const SNOWFLAKE_EPOCH_MS = 1_767_225_600_000
/** Bits below the milliseconds. */
const SNOWFLAKE_LOW_BITS = 22n

/** The lowest id that a message of this time can have. @param ms milliseconds since 1970 */
export const firstIdAt = (ms: number): string =>
  String(BigInt(Math.max(0, Math.floor(ms) - SNOWFLAKE_EPOCH_MS)) << SNOWFLAKE_LOW_BITS)
