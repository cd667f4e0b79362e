/** Rooms and their members as JSON, and what the routes of both share. */
import { AppError, type logicRpc, ROOM_ID, USER_ID } from '@tidings/protocol'
import { type Static, Type } from 'typebox'
import { RoomId, TOKEN_CODES, UserId } from './schemas.js'

const strict = { additionalProperties: false } as const
const MS = 'milliseconds since 1970'

/** Not blank; no control characters, halves of pairs, or marks that turn the reading direction of what follows. */
const SHOWN = /^(?=.*\S)[^\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069]+$/u

export const RoomName = Type.String({
  maxLength: 100,
  pattern: SHOWN.source,
  description: 'What people are shown, without control characters. Two rooms may have the same name.',
})
export const Kind = Type.Enum(['permanent', 'temporary'], {
  description: 'temporary: it ends with its last member, or at endsAt.',
})
export const Visibility = Type.Enum(['public', 'private'], {
  description: 'public: everybody may find and join it. private: for others than its members it does not exist.',
})
export const History = Type.Enum(['all', 'joined'], {
  description: 'What a member may read. all: the whole log. joined: what came since the member joined.',
})
export const Role = Type.Enum(['owner', 'admin', 'member'], { description: 'What somebody may do in the room.' })

const NOW = 1_763_700_000_000

export const Room = Type.Object(
  {
    id: RoomId,
    conversation: Type.String({ description: 'The conversation of the room: room: and its id.' }),
    name: RoomName,
    kind: Kind,
    visibility: Visibility,
    history: History,
    members: Type.Integer({ description: 'How many there are.' }),
    createdAt: Type.Integer({ description: `In ${MS}.` }),
    endsAt: Type.Union([Type.Integer(), Type.Null()], { description: `When it ends, in ${MS}; null: at no set time.` }),
    retentionDays: Type.Union([Type.Integer(), Type.Null()], {
      description: 'For how many days messages are kept; null: as long as everywhere here. The shorter of both holds.',
    }),
    version: Type.Integer({ description: 'Rises with every change of the room or of its members.' }),
    role: Type.Union([Role, Type.Null()], { description: "The caller's; null for somebody who is not in it." }),
  },
  {
    $id: 'Room',
    description: 'A conversation with members and roles.',
    examples: [
      {
        id: 'gQ3vX0aLk81ZpR_e',
        conversation: 'room:gQ3vX0aLk81ZpR_e',
        name: 'Team',
        kind: 'permanent',
        visibility: 'private',
        history: 'joined',
        members: 2,
        createdAt: NOW,
        endsAt: null,
        retentionDays: null,
        version: 1,
        role: 'owner',
      },
    ],
    ...strict,
  },
)

export const Member = Type.Object(
  {
    user: UserId,
    displayName: Type.String({ description: 'What others are shown.' }),
    role: Role,
    mutedUntil: Type.Union([Type.Integer(), Type.Null()], {
      description: `Until when nothing of theirs is accepted, in ${MS}; null when they are not muted.`,
    }),
    joinedAt: Type.Integer({ description: `In ${MS}.` }),
  },
  {
    $id: 'Member',
    description: 'A user in a room.',
    examples: [{ user: 'bob', displayName: 'Bob', role: 'member', mutedUntil: null, joinedAt: NOW }],
    ...strict,
  },
)

export const ROOM_SCHEMAS = [Room, Member] as const

/** Codes of every route of a room. */
export const ROOM_CODES = [...TOKEN_CODES, 'room_not_found'] as const
/** Codes of every route that changes one. */
export const CHANGE_CODES = [...ROOM_CODES, 'outcome_unknown'] as const

export const Cursor = Type.Optional(Type.String({ maxLength: 512, description: 'nextCursor of the page before.' }))
export const NextCursor = Type.Union([Type.String(), Type.Null()], {
  description: 'For the next page; null at the end.',
})

export const nextCursorOf = ({ nextCursor }: { nextCursor: string }): string | null =>
  nextCursor === '' ? null : nextCursor

/** @param room as logic answered with it, which always does */
export function roomJson({ room }: { room: logicRpc.Room | undefined }): Static<typeof Room> {
  if (!room) throw new Error('logic answered without a room')
  const { id, name, members, createdAt, endsAt, version, retentionDays } = room
  const { kind, visibility, history, role } = room as Static<typeof Room>
  return {
    id,
    conversation: `room:${id}`,
    name,
    kind,
    visibility,
    history,
    members,
    createdAt,
    endsAt: endsAt === 0 ? null : endsAt,
    retentionDays: retentionDays === 0 ? null : retentionDays,
    version,
    role: role || null,
  }
}

/** @param now what is over by then is no muting any more */
export function memberJson(member: logicRpc.Member, now: number): Static<typeof Member> {
  const { user, displayName, mutedUntil, joinedAt } = member
  const { role } = member as Static<typeof Member>
  return { user, displayName, role, mutedUntil: mutedUntil > now ? mutedUntil : null, joinedAt }
}

/** @throws AppError `room_not_found`: what cannot be a room is answered like one that logic does not show */
export function roomOf({ id }: { id: string }): string {
  if (!ROOM_ID.test(id)) throw new AppError('room_not_found', 'There is no such room, or you are not in it.')
  return id
}

/** @throws AppError `room_not_found`, `user_not_found` */
export function memberOf({ id, user }: { id: string; user: string }): { room: string; member: string } {
  const room = roomOf({ id })
  if (!USER_ID.test(user)) throw new AppError('user_not_found')
  return { room, member: user }
}
