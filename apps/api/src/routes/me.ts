/** Profiles. */
import { AppError, type logicRpc, USER_ID } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { named, problems, SIGNED_IN, TOKEN_CODES, User } from '../schemas.js'

const tags = ['users']

const found = ({ user }: { user: logicRpc.User | undefined }): logicRpc.User => {
  if (!user) throw new AppError('user_not_found')
  return user
}

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
      const { scopes } = request.identity
      if (scopes && !scopes.has('read'))
        throw new AppError('forbidden', 'This service token does not have the scope read.')
      const { id } = request.params
      if (!USER_ID.test(id)) throw new AppError('user_not_found')
      return found(await logic.getUser({ user: id }))
    },
  )
}
