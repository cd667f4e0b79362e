/** What happens, as webhooks are told of it, and who wants to hear of it. */
import {
  type Entry,
  isParty,
  messageJson,
  type PresenceEvent,
  parseConversation,
  type ReceiptEvent,
  roomEventOf,
  seenNow,
} from '@tidings/protocol'

/** The word of an event, as `events` of a webhook names it. */
export type EventName = 'message' | 'room' | 'receipt' | 'presence'

/** What a webhook wants to hear of. */
export interface Wish {
  events: readonly string[]
  /** Rooms and users it is about; where both are empty, all. */
  rooms: readonly string[]
  users: readonly string[]
}

export interface HookEvent {
  eventId: string
  name: EventName
  body: string
}

/** The event of an entry as it may be shown now, undefined for a void: nothing happened there. */
export function eventOf(given: Entry): HookEvent | undefined {
  if (given.type === 'void') return undefined
  const entry = seenNow(given)
  const name = roomEventOf(entry) ? 'room' : 'message'
  // The same whenever the entry comes, so that the endpoint and the table of deliveries know it again.
  const eventId = `evt_${entry.id}`
  const body = `{"id":"${eventId}","event":"${name}","at":${entry.sentAt},"data":${messageJson(entry)}}`
  return { eventId, name, body }
}

/** Several of what may be lost, in one event: `data` is an array. */
export function eventOfMany(
  eventId: string,
  name: 'receipt' | 'presence',
  at: number,
  events: readonly (ReceiptEvent | PresenceEvent)[],
): HookEvent {
  const data = events.map(({ op: _op, ...rest }) => rest)
  return { eventId, name, body: JSON.stringify({ id: eventId, event: name, at, data }) }
}

/** Does the webhook want to hear of what somebody does in a conversation? */
export function wants({ events, rooms, users }: Wish, name: EventName, conversation: string, user: string): boolean {
  if (!events.includes(name)) return false
  if (rooms.length + users.length === 0) return true
  if (users.includes(user)) return true
  const parsed = parseConversation(conversation)
  if (parsed?.kind === 'room') return rooms.includes(parsed.room)
  return parsed !== undefined && parsed.kind !== 'everyone' && users.some((one) => isParty(parsed, one))
}
