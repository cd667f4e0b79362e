/** The live sessions of this node, and which of them are in which room. */
import { parseConversation } from '@tidings/protocol'
import { RoomSessions } from './room-sessions.js'
import type { Session } from './session.js'

const SLICES = 16

export interface Sessions {
  add(session: Session): void
  remove(session: Session): void
  byId(id: string): Session | undefined
  of(user: string): readonly Session[]
  /** The session of this device that is here already. */
  ofDevice(user: string, device: string): Session | undefined
  /** Lists the session under the rooms that it stands in; again whenever it has entered one. */
  enterRooms(session: Session): void
  /** The session is in this room no more. */
  leaveRoom(session: Session, room: string): void
  /** Those in a room; undefined when there are none. */
  inRoom(room: string): RoomSessions | undefined
  /** Those that must see what is said in a conversation. */
  concerned(conversation: string): Iterable<Session>
  all(): Iterable<Session>
  /** A sixteenth of all, a different one each time: for work that is spread over time. */
  nextSlice(): Iterable<Session>
  readonly size: number
}

export const SESSION_SLICES = SLICES

export function createSessions(): Sessions {
  const byId = new Map<string, Session>()
  const byUser = new Map<string, Session[]>()
  const byRoom = new Map<string, RoomSessions>()
  const slices = Array.from({ length: SLICES }, (): Session[] => [])
  let turn = 0
  // Ids are random, so the slices are about alike.
  const sliceOf = ({ id }: Session): Session[] => slices[(id.charCodeAt(0) + id.charCodeAt(1)) % SLICES]!
  const none: readonly Session[] = []

  function leaveRoom(session: Session, room: string): void {
    session.leave(room)
    const here = byRoom.get(room)
    here?.remove(session)
    if (here?.size === 0) byRoom.delete(room)
  }

  function* ofUsers(users: readonly string[]): Iterable<Session> {
    for (const user of new Set(users)) yield* byUser.get(user) ?? none
  }

  return {
    add(session) {
      byId.set(session.id, session)
      const beside = byUser.get(session.user)
      if (beside) beside.push(session)
      else byUser.set(session.user, [session])
      const slice = sliceOf(session)
      session.place = slice.length
      slice.push(session)
    },
    remove(session) {
      if (!byId.delete(session.id)) return
      const left = (byUser.get(session.user) ?? []).filter((other) => other !== session)
      if (left.length > 0) byUser.set(session.user, left)
      else byUser.delete(session.user)
      for (const room of [...session.rooms()]) leaveRoom(session, room)
      // The last one of the slice takes its place.
      const slice = sliceOf(session)
      const last = slice.pop()!
      if (last === session) return
      slice[session.place] = last
      last.place = session.place
    },
    enterRooms(session) {
      if (session.closed) return
      for (const room of session.rooms()) {
        const here = byRoom.get(room) ?? new RoomSessions(room)
        byRoom.set(room, here)
        here.add(session)
      }
    },
    leaveRoom,
    inRoom: (room) => byRoom.get(room),
    concerned(conversation) {
      const parsed = parseConversation(conversation)
      if (parsed?.kind === 'room') return byRoom.get(conversation) ?? none
      if (parsed?.kind === 'dm') return ofUsers(parsed.users)
      if (parsed?.kind === 'everyone') return byId.values()
      return parsed?.kind === 'feed' ? ofUsers([parsed.user]) : none
    },
    byId: (id) => byId.get(id),
    of: (user) => byUser.get(user) ?? none,
    ofDevice: (user, device) => byUser.get(user)?.find((session) => session.device === device),
    all: () => byId.values(),
    nextSlice: () => slices[turn++ % SLICES]!,
    get size() {
      return byId.size
    },
  }
}
