/** Rooms as a whole, and going in and out. Who may do what is for logic to say. */
import { AppError, MAX_CHANGED_MEMBERS } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireReader, requireUser } from '../auth.js'
import {
  CHANGE_CODES,
  Cursor,
  History,
  Kind,
  NextCursor,
  nextCursorOf,
  ROOM_CODES,
  Room,
  RoomName,
  roomJson,
  roomOf,
  Visibility,
} from '../room-json.js'
import { As, BODY_CODES, named, problems, SIGNED_IN, TOKEN_CODES, UserId } from '../schemas.js'

const PAGE = 50
const MAX_ROOMS = 100
const MINUTE_S = 60
const YEAR_S = 365 * 24 * 60 * 60
const strict = { additionalProperties: false } as const
const about = { tags: ['rooms'], security: SIGNED_IN }
const params = Type.Object({ id: Type.String({ description: 'The room, without the room: of its conversation.' }) })

const CreateRoom = Type.Object(
  {
    name: RoomName,
    kind: Type.Optional({ ...Kind, description: 'permanent when left out; temporary ends by itself.' }),
    visibility: Type.Optional({ ...Visibility, description: 'private when left out.' }),
    history: Type.Optional({
      ...History,
      description: 'When left out: all for a public room, joined for a private one.',
    }),
    members: Type.Optional(
      Type.Array(UserId, { maxItems: MAX_CHANGED_MEMBERS, description: 'Who is in it from the start, beside me.' }),
    ),
    ttl: Type.Optional(
      Type.Integer({
        minimum: MINUTE_S,
        maximum: YEAR_S,
        description: 'Of a temporary room: seconds until it ends, whoever is in it then. A minute to a year.',
      }),
    ),
  },
  { examples: [{ name: 'Team', members: ['bob'] }], ...strict },
)

const UpdateRoom = Type.Object(
  {
    name: Type.Optional(RoomName),
    visibility: Type.Optional(Visibility),
    history: Type.Optional(History),
    retentionDays: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 3_650 }), Type.Null()], {
        description: 'Messages that are older are removed for good; null: as long as everywhere here.',
      }),
    ),
  },
  { minProperties: 1, examples: [{ name: 'The whole team' }], ...strict },
)

const Rooms = Type.Object(
  { rooms: Type.Array(named(Room)), nextCursor: NextCursor },
  { description: 'A page of rooms.', ...strict },
)

export function roomRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.post(
    '/rooms',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'createRoom',
        ...about,
        summary: 'Make a room',
        description:
          'I own it. This is the one call of rooms that makes a second thing when it is repeated: after a 5xx, look among my rooms first.',
        body: CreateRoom,
        response: {
          201: named(Room, 'The room.'),
          ...problems(...BODY_CODES, ...TOKEN_CODES, 'user_not_found', 'outcome_unknown'),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { name, kind = 'permanent', visibility = 'private', history = '', members = [], ttl } = request.body
      if (ttl !== undefined && kind !== 'temporary')
        throw new AppError('invalid_request', 'ttl is for rooms of the kind temporary.')
      const room = roomJson(await logic.createRoom({ user, name, kind, visibility, history, members, ttlS: ttl ?? 0 }))
      reply.code(201)
      return room
    },
  )

  app.get(
    '/rooms',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'searchRooms',
        ...about,
        summary: 'Rooms by name',
        description: 'Public rooms and my own, those whose name has q in it, or all.',
        querystring: Type.Object(
          {
            q: Type.Optional(Type.String({ maxLength: 100, description: 'A part of the name.' })),
            cursor: Cursor,
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_ROOMS, default: PAGE })),
          },
          strict,
        ),
        response: { 200: Rooms, ...problems(...TOKEN_CODES) },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      const { q = '', cursor = '', limit = PAGE } = request.query
      const page = await logic.searchRooms({ user, query: q, cursor, limit })
      return { rooms: page.rooms.map((room) => roomJson({ room })), nextCursor: nextCursorOf(page) }
    },
  )

  app.get(
    '/rooms/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'getRoom',
        ...about,
        summary: 'A room',
        description: 'One that I am in, or a public one.',
        params,
        querystring: Type.Object({ as: As }, strict),
        response: { 200: named(Room, 'The room.'), ...problems(...ROOM_CODES) },
      },
    },
    async (request) => {
      const user = requireReader(request.identity, request.query.as)
      return roomJson(await logic.getRoom({ user, room: roomOf(request.params) }))
    },
  )

  app.patch(
    '/rooms/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'updateRoom',
        ...about,
        summary: 'Change a room',
        description: 'Owner and admins may change the name, the owner alone visibility, history and retentionDays.',
        params,
        body: UpdateRoom,
        response: { 200: named(Room, 'The room as it is now.'), ...problems(...BODY_CODES, ...CHANGE_CODES) },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      const { name = '', visibility = '', history = '', retentionDays } = request.body
      const kept = retentionDays !== undefined && { retentionDays: retentionDays ?? 0 }
      const wanted = { user, room: roomOf(request.params), name, visibility, history, ...kept }
      return roomJson(await logic.updateRoom(wanted))
    },
  )

  app.delete(
    '/rooms/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'deleteRoom',
        ...about,
        summary: 'End a room',
        description: 'For all, and for good. The owner may.',
        params,
        response: { 204: Type.Null({ description: 'The room has ended.' }), ...problems(...CHANGE_CODES) },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      await logic.deleteRoom({ user, room: roomOf(request.params) })
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/rooms/:id/join',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'joinRoom',
        ...about,
        summary: 'Join a public room',
        description: 'Into a private one somebody has to add me. Joining twice is joining once.',
        params,
        response: { 200: named(Room, 'The room.'), ...problems(...CHANGE_CODES, 'banned', 'room_full') },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      return roomJson(await logic.joinRoom({ user, room: roomOf(request.params) }))
    },
  )

  app.post(
    '/rooms/:id/leave',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'leaveRoom',
        ...about,
        summary: 'Leave a room',
        description:
          'From then on I read nothing of it. When the owner leaves, the admin who has been there longest owns it, or the member where ' +
          'there is no admin. A temporary room ends with its last member.',
        params,
        response: { 204: Type.Null({ description: 'I am not in it.' }), ...problems(...CHANGE_CODES) },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      await logic.leaveRoom({ user, room: roomOf(request.params) })
      return reply.code(204).send(null)
    },
  )
}
