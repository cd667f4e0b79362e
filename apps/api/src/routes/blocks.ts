/** Whom I do not want to hear from. */
import { AppError, USER_ID } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { Cursor, NextCursor, nextCursorOf } from '../room-json.js'
import { problems, SIGNED_IN, TOKEN_CODES, UserId } from '../schemas.js'

const PAGE = 50
const MAX_LISTED = 200
const strict = { additionalProperties: false } as const
const about = { tags: ['users'], security: SIGNED_IN }
const params = Type.Object({ user: Type.String({ description: 'The user, for example bob.' }) })

const Blocks = Type.Object(
  { users: Type.Array(UserId), nextCursor: NextCursor },
  { description: 'A page of users, by name.', ...strict },
)

/** @throws AppError `user_not_found` for what cannot be a name */
function userOf({ user }: { user: string }): string {
  if (!USER_ID.test(user)) throw new AppError('user_not_found')
  return user
}

export function blockRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/blocks',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'listBlocks',
        ...about,
        summary: 'Whom I have blocked',
        description: 'Page by page. Nobody else sees it.',
        querystring: Type.Object(
          { cursor: Cursor, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LISTED, default: PAGE })) },
          strict,
        ),
        response: { 200: Blocks, ...problems(...TOKEN_CODES) },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      const { cursor = '', limit = PAGE } = request.query
      const page = await logic.listBlocks({ user, cursor, limit })
      return { users: page.users, nextCursor: nextCursorOf(page) }
    },
  )

  app.put(
    '/blocks/:user',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'block',
        ...about,
        summary: 'Block a user',
        description:
          'Within 5 s, direct messages of the user to me are refused with 403 blocked, also when a service sends them. I may still write to ' +
          'the user, rooms are not concerned, and what was said stays. Repeating it changes nothing.',
        params,
        response: {
          204: Type.Null({ description: 'The user is blocked.' }),
          ...problems(...TOKEN_CODES, 'user_not_found'),
        },
      },
    },
    async (request, reply) => {
      await logic.block({ user: requireUser(request.identity), blocked: userOf(request.params) })
      return reply.code(204).send(null)
    },
  )

  app.delete(
    '/blocks/:user',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'unblock',
        ...about,
        summary: 'Take a block back',
        description: 'The user may write to me again, at once. Repeating it changes nothing.',
        params,
        response: {
          204: Type.Null({ description: 'The user is not blocked.' }),
          ...problems(...TOKEN_CODES, 'user_not_found'),
        },
      },
    },
    async (request, reply) => {
      await logic.unblock({ user: requireUser(request.identity), blocked: userOf(request.params) })
      return reply.code(204).send(null)
    },
  )
}
