/** Who is in a room, and who may not come back. Who may do what is for logic to say. */
import { MAX_CHANGED_MEMBERS } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireReader, requireUser } from '../auth.js'
import {
  CHANGE_CODES,
  Cursor,
  Member,
  memberJson,
  memberOf,
  NextCursor,
  nextCursorOf,
  ROOM_CODES,
  Role,
  Room,
  roomJson,
  roomOf,
} from '../room-json.js'
import { As, BODY_CODES, named, problems, SIGNED_IN, UserId } from '../schemas.js'

const PAGE = 50
const MAX_LISTED = 200
const strict = { additionalProperties: false } as const
const about = { tags: ['rooms'], security: SIGNED_IN }
const id = Type.String({ description: 'The room, without the room: of its conversation.' })
const inRoom = Type.Object({ id })
const ofUser = Type.Object({ id, user: Type.String({ description: 'The user.' }) })
const query = Type.Object(
  { cursor: Cursor, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LISTED, default: PAGE })) },
  strict,
)

const Members = Type.Object(
  { members: Type.Array(named(Member)), nextCursor: NextCursor },
  { description: 'A page of members.', ...strict },
)

const Bans = Type.Object(
  { users: Type.Array(UserId), nextCursor: NextCursor },
  { description: 'A page of users who are banned.', ...strict },
)

const AddMembers = Type.Object(
  { users: Type.Array(UserId, { minItems: 1, maxItems: MAX_CHANGED_MEMBERS }) },
  { examples: [{ users: ['bob', 'carol'] }], ...strict },
)

const SetMember = Type.Object(
  {
    role: Type.Optional({
      ...Role,
      description: 'When left out, as it is, and member for a new one. With owner, I hand the room over.',
    }),
    mutedUntil: Type.Optional(
      Type.Union([Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), Type.Null()], {
        description:
          'Until when nothing of theirs is accepted, in milliseconds since 1970; null: not muted any more. When left out, as it is.',
      }),
    ),
  },
  { examples: [{ role: 'admin' }], ...strict },
)

export function memberRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/rooms/:id/members',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'listMembers',
        ...about,
        summary: 'Who is in a room',
        description: 'Page by page, with roles.',
        params: inRoom,
        querystring: Type.Object({ ...query.properties, as: As }, strict),
        response: { 200: Members, ...problems(...ROOM_CODES) },
      },
    },
    async (request) => {
      const user = requireReader(request.identity, request.query.as)
      const { cursor = '', limit = PAGE } = request.query
      const page = await logic.listMembers({ user, room: roomOf(request.params), cursor, limit })
      const now = Date.now()
      return { members: page.members.map((member) => memberJson(member, now)), nextCursor: nextCursorOf(page) }
    },
  )

  app.post(
    '/rooms/:id/members',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'addMembers',
        ...about,
        summary: 'Add up to 200 users',
        description:
          'All of them or none. Owner and admins may. Those who are in it already stay as they are. More than 200 take several calls.',
        params: inRoom,
        body: AddMembers,
        response: {
          200: named(Room, 'The room as it is now.'),
          ...problems(...BODY_CODES, ...CHANGE_CODES, 'user_not_found', 'banned', 'room_full'),
        },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      return roomJson(await logic.addMembers({ user, room: roomOf(request.params), members: [...request.body.users] }))
    },
  )

  app.put(
    '/rooms/:id/members/:user',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'setMember',
        ...about,
        summary: 'Add a user, or change role or muting',
        description:
          'Owner and admins may add, and mute members; the owner may mute admins, too, and alone gives roles. An empty object adds a member.',
        params: ofUser,
        body: SetMember,
        response: {
          200: named(Member, 'The member.'),
          ...problems(...BODY_CODES, ...CHANGE_CODES, 'user_not_found', 'banned', 'room_full'),
        },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      const { role = '', mutedUntil } = request.body
      const { member } = await logic.setMember({
        user,
        ...memberOf(request.params),
        role,
        ...(mutedUntil !== undefined && { mutedUntil: mutedUntil ?? 0 }),
      })
      if (!member) throw new Error('logic answered without a member')
      return memberJson(member, Date.now())
    },
  )

  app.delete(
    '/rooms/:id/members/:user',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'removeMember',
        ...about,
        summary: 'Remove a member',
        description: 'Owner and admins may; admins no other admin. They may come back: a ban keeps them out.',
        params: ofUser,
        response: {
          204: Type.Null({ description: 'They are not in it.' }),
          ...problems(...CHANGE_CODES, 'user_not_found'),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      await logic.removeMember({ user, ...memberOf(request.params) })
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/rooms/:id/bans',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'listBans',
        ...about,
        summary: 'Who may not come back',
        description: 'Owner and admins may see it.',
        params: inRoom,
        querystring: query,
        response: { 200: Bans, ...problems(...ROOM_CODES) },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      const { cursor = '', limit = PAGE } = request.query
      const page = await logic.listBans({ user, room: roomOf(request.params), cursor, limit })
      return { users: page.users, nextCursor: nextCursorOf(page) }
    },
  )

  app.put(
    '/rooms/:id/bans/:user',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'ban',
        ...about,
        summary: 'Ban a user',
        description:
          'Removes them, and keeps them out until the ban is lifted, whether or not they were in it. Owner and admins may; admins no other admin.',
        params: ofUser,
        response: {
          204: Type.Null({ description: 'They are banned.' }),
          ...problems(...CHANGE_CODES, 'user_not_found'),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      await logic.ban({ user, ...memberOf(request.params) })
      return reply.code(204).send(null)
    },
  )

  app.delete(
    '/rooms/:id/bans/:user',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'unban',
        ...about,
        summary: 'Lift a ban',
        description: 'They may come back, and are not brought back. Owner and admins may.',
        params: ofUser,
        response: {
          204: Type.Null({ description: 'They are not banned.' }),
          ...problems(...CHANGE_CODES, 'user_not_found'),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      await logic.unban({ user, ...memberOf(request.params) })
      return reply.code(204).send(null)
    },
  )
}
