/** Profiles. */
import { AppError, type logicRpc, USER_ID } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireScope, requireUser } from '../auth.js'
import { BODY_CODES, named, problems, SIGNED_IN, TOKEN_CODES, User } from '../schemas.js'

const tags = ['users']

const found = ({ user }: { user: logicRpc.User | undefined }): logicRpc.User => {
  if (!user) throw new AppError('user_not_found')
  return user
}

const Profile = Type.Object(
  { displayName: Type.String({ minLength: 1, maxLength: 100, description: 'What others are shown.' }) },
  { examples: [{ displayName: 'Alice' }], additionalProperties: false },
)

export function meRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/me',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'getMe',
        tags,
        summary: 'Who I am',
        description: 'The profile of the user whose token this is.',
        security: SIGNED_IN,
        querystring: Type.Object({}, { additionalProperties: false }),
        response: { 200: named(User, 'The profile.'), ...problems(...TOKEN_CODES, 'user_not_found') },
      },
    },
    async (request) => found(await logic.getUser({ user: requireUser(request.identity) })),
  )

  app.patch(
    '/me',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'updateMe',
        tags,
        summary: 'Change my profile',
        description: 'The display name; the id stays for good.',
        security: SIGNED_IN,
        body: Profile,
        response: {
          200: named(User, 'The profile as it is now.'),
          ...problems(...BODY_CODES, ...TOKEN_CODES, 'user_not_found'),
        },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      return found(await logic.updateUser({ user, displayName: request.body.displayName }))
    },
  )

  app.delete(
    '/me',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'deleteMe',
        tags,
        summary: 'Delete my account',
        description:
          'For good. All sessions end everywhere within 5 s, tokens made elsewhere for this user are refused from then on, and open sockets ' +
          'close. Nobody is given the name again, and nobody can write to it. What was said stays with those it was said to.',
        security: SIGNED_IN,
        querystring: Type.Object({}, { additionalProperties: false }),
        response: {
          204: Type.Null({ description: 'The account is deleted.' }),
          ...problems(...TOKEN_CODES, 'user_not_found'),
        },
      },
    },
    async (request, reply) => {
      await logic.deleteUser({ user: requireUser(request.identity) })
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/users/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'getUser',
        tags,
        summary: 'A profile',
        description: 'What everybody may see of a user. A service token needs the scope read.',
        security: SIGNED_IN,
        params: Type.Object({ id: Type.String({ description: 'The id of the user, for example alice.' }) }),
        querystring: Type.Object({}, { additionalProperties: false }),
        response: { 200: named(User, 'The profile.'), ...problems(...TOKEN_CODES, 'user_not_found') },
      },
    },
    async (request) => {
      if (request.identity.scopes) requireScope(request.identity, 'read')
      const { id } = request.params
      if (!USER_ID.test(id)) throw new AppError('user_not_found')
      return found(await logic.getUser({ user: id }))
    },
  )
}
