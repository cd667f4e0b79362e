/** Sessions of people, for operators: who is there, and out with them. */
import { USER_ID } from '@tidings/protocol'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { ADMIN_CODES, matching, problems, SIGNED, UserId } from '../schemas.js'

const strict = { additionalProperties: false } as const
const tags = ['admin']
const SESSION_ID = /^[A-Za-z0-9_-]{1,32}$/
const user = matching(USER_ID, 'The id of the user.')

const Sessions = Type.Object(
  {
    sessions: Type.Array(Type.Object({ session: Type.String(), device: Type.String(), node: Type.String() }, strict), {
      description: 'Live ones, WebSockets and long-polls, with the connect node that holds them.',
    }),
    signIns: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          device: Type.String({ description: 'As named when signing in.' }),
          createdAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
          expiresAt: Type.Integer({ description: 'When it ends unless it is refreshed.' }),
        },
        strict,
      ),
      { description: 'Sign-ins with a password that have not ended, the newest 500.' },
    ),
  },
  { description: 'Sessions of a user.', ...strict },
)

export function adminSessionRoutes(app: Api, { logic }: ApiDeps): void {
  app.get(
    '/admin/sessions',
    {
      schema: {
        operationId: 'adminListSessions',
        tags,
        summary: 'Sessions of a user',
        description: 'Those that are live on any connect node, and the sign-ins that may begin others.',
        security: SIGNED,
        querystring: Type.Object({ user: UserId }, strict),
        response: { 200: Sessions, ...problems(...ADMIN_CODES) },
      },
    },
    async (request) => await logic.listSessions({ user: request.query.user }),
  )

  app.delete(
    '/admin/sessions/:user',
    {
      schema: {
        operationId: 'adminKickUser',
        tags,
        summary: 'End all sessions of a user',
        description:
          'Sign-ins end everywhere within 5 s; what is live is closed with 4410. A token made elsewhere may come back: disable the user for that.',
        security: SIGNED,
        params: Type.Object({ user }),
        response: { 204: Type.Null({ description: 'They have ended.' }), ...problems(...ADMIN_CODES) },
      },
    },
    async (request, reply) => {
      await logic.endSessions({ user: request.params.user, session: '' })
      return reply.code(204).send(null)
    },
  )

  app.delete(
    '/admin/sessions/:user/:session',
    {
      schema: {
        operationId: 'adminKickSession',
        tags,
        summary: 'End a session',
        description:
          'A live one is closed with 4410, and the sign-in behind it ends; or a sign-in by its id, with whatever is live of it. A token made elsewhere may come back.',
        security: SIGNED,
        params: Type.Object({ user, session: matching(SESSION_ID, 'Of a live session or of a sign-in.') }),
        response: {
          204: Type.Null({ description: 'It has ended.' }),
          ...problems(...ADMIN_CODES, 'session_not_found'),
        },
      },
    },
    async (request, reply) => {
      await logic.endSessions(request.params)
      return reply.code(204).send(null)
    },
  )
}
