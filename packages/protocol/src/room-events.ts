/** What an entry of a room's log says of the room itself and of its members: content of entries of type `system` that logic alone makes. */
import type { Entry } from './entry.js'
import { isService } from './ids.js'

/** Most users in one change: all of them fit into the content of one entry. */
export const MAX_CHANGED_MEMBERS = 200

export type Role = 'owner' | 'admin' | 'member'

/** One change, as its entry tells it. Names are user ids. */
export interface RoomEvent {
  event: 'room'
  change: 'created' | 'updated' | 'deleted' | 'joined' | 'added' | 'left' | 'removed' | 'banned' | 'member_updated'
  /** Version of the room after it. */
  version: number
  by: string
  /** Who is in the room from this entry on. */
  joined?: readonly string[]
  /** Who is not in it after this entry. */
  left?: readonly string[]
  /** What became of these members. `mutedUntil` in milliseconds since 1970. */
  members?: readonly { user: string; role?: Role; mutedUntil?: number }[]
  /** What the room is now, where that changed. */
  room?: { name?: string; visibility?: string; history?: string; retentionDays?: number }
}

/**
 * The clientId of the entry that tells of a version. A person cannot send a `system` entry, whatever its clientId; what a server pushes is
 * known by its sender.
 */
export const roomEventClientId = (version: number): string => `room.${version}`

const CLIENT_ID = /^room\.\d+$/

/** @returns the event, or undefined when the entry is a message like others */
export function roomEventOf(entry: Pick<Entry, 'type' | 'from' | 'clientId' | 'content'>): RoomEvent | undefined {
  return isRoomEvent(entry) ? toRoomEvent(JSON.parse(entry.content)) : undefined
}

/** As `roomEventOf`, of a frame that delivers an entry. @param frame UTF-8 */
export function roomEventIn(frame: Uint8Array): RoomEvent | undefined {
  const { message } = JSON.parse(Buffer.from(frame).toString()) as {
    message: { type: string; from: string; clientId?: string; content: unknown }
  }
  return isRoomEvent(message) ? toRoomEvent(message.content) : undefined
}

const isRoomEvent = ({ type, from, clientId = '' }: { type: string; from: string; clientId?: string }): boolean =>
  type === 'system' && CLIENT_ID.test(clientId) && !isService(from)

const toRoomEvent = (content: unknown): RoomEvent | undefined =>
  (content as Partial<RoomEvent>).event === 'room' ? (content as RoomEvent) : undefined

/** Is this user in the room no more after the event? */
export const endsFor = (event: RoomEvent, user: string): boolean =>
  event.change === 'deleted' || (event.left?.includes(user) ?? false)
