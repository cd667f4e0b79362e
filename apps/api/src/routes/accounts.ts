/** Accounts that others than their owners make and end: servers with the scope admin, and operators. */
import { AppError, USER_ID } from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireScope } from '../auth.js'
import { pathOf } from '../problem.js'
import {
  ADMIN_CODES,
  BODY_CODES,
  matching,
  named,
  problems,
  SIGNED,
  SIGNED_IN,
  TOKEN_CODES,
  User,
  UserId,
} from '../schemas.js'

const strict = { additionalProperties: false } as const
const params = Type.Object({ id: matching(USER_ID, 'The id of the user.') })

const NewUser = Type.Object(
  {
    id: UserId,
    displayName: Type.Optional(Type.String({ minLength: 1, maxLength: 100, description: 'Default: the id.' })),
    password: Type.Optional(
      Type.String({ minLength: 8, maxLength: 128, description: 'Left out: the user signs in elsewhere.' }),
    ),
  },
  { examples: [{ id: 'dora', displayName: 'Dora D.' }], ...strict },
)

/** Who may call, and how that is said in the document. */
interface Caller {
  prefix: string
  operationIds: string
  about: { tags: string[]; security: typeof SIGNED | typeof SIGNED_IN }
  codes: readonly (typeof ADMIN_CODES)[number][] | typeof TOKEN_CODES
  hooks: { onRequest?: onRequestHookHandler }
  /** @throws AppError `forbidden` */
  admit(request: FastifyRequest): void
}

/** `/users`, for service tokens with the scope admin. */
export function serverAccountRoutes(app: Api, deps: ApiDeps, authenticate: onRequestHookHandler): void {
  accountRoutes(app, deps, {
    prefix: '',
    operationIds: 'server',
    about: { tags: ['users'], security: SIGNED_IN },
    codes: TOKEN_CODES,
    hooks: { onRequest: authenticate },
    admit(request) {
      requireScope(request.identity, 'admin')
      noteChange(deps.log, request)
    },
  })
}

/** `/admin/users`, behind the gate. */
export function adminAccountRoutes(app: Api, deps: ApiDeps): void {
  accountRoutes(app, deps, {
    prefix: '/admin',
    operationIds: 'admin',
    about: { tags: ['admin'], security: SIGNED },
    codes: ADMIN_CODES,
    hooks: {},
    admit: () => undefined,
  })
}

/** As the gate does it for operators. */
function noteChange(log: Logger, { identity, method, url, id, ip }: FastifyRequest): void {
  log.info({ service: identity.user, address: ip, method, path: pathOf(url), reqId: id }, 'a server changes an account')
}

function accountRoutes(app: Api, { logic }: ApiDeps, caller: Caller): void {
  const { prefix, operationIds, about, codes, hooks, admit } = caller

  app.post(
    `${prefix}/users`,
    {
      ...hooks,
      schema: {
        operationId: `${operationIds}MakeUser`,
        ...about,
        summary: 'Make an account',
        description:
          'For service tokens with the scope admin, or signed: whether registration is open does not matter. A name that a deleted account had is never given out again.',
        body: NewUser,
        response: { 201: named(User, 'The account.'), ...problems(...BODY_CODES, ...codes, 'username_taken') },
      },
    },
    async (request, reply) => {
      admit(request)
      const { id, displayName = '', password = '' } = request.body
      const { user } = await logic.makeUser({ user: id, displayName, password })
      if (!user) throw new AppError('internal')
      reply.code(201)
      return user
    },
  )

  app.delete(
    `${prefix}/users/:id`,
    {
      ...hooks,
      schema: {
        operationId: `${operationIds}DeleteUser`,
        ...about,
        summary: 'Delete an account',
        description: 'As DELETE /me does it: for good, everywhere within 5 s. Repeating it changes nothing.',
        params,
        response: {
          204: Type.Null({ description: 'The account is deleted.' }),
          ...problems(...codes, 'user_not_found'),
        },
      },
    },
    async (request, reply) => {
      admit(request)
      await logic.deleteUser({ user: request.params.id })
      return reply.code(204).send(null)
    },
  )

  const setDisabled = async (request: FastifyRequest<{ Params: { id: string } }>, disabled: boolean): Promise<void> => {
    admit(request)
    await logic.setUserDisabled({ user: request.params.id, disabled })
  }

  app.put(
    `${prefix}/users/:id/disabled`,
    {
      ...hooks,
      schema: {
        operationId: `${operationIds}DisableUser`,
        ...about,
        summary: 'Disable a user',
        description:
          'Within 5 s all sessions have ended, open sockets are closed with 4403, and every token of the user is refused. Others may still write to the user.',
        params,
        response: { 204: Type.Null({ description: 'The user may not act.' }), ...problems(...codes, 'user_not_found') },
      },
    },
    async (request, reply) => {
      await setDisabled(request, true)
      return reply.code(204).send(null)
    },
  )

  app.delete(
    `${prefix}/users/:id/disabled`,
    {
      ...hooks,
      schema: {
        operationId: `${operationIds}EnableUser`,
        ...about,
        summary: 'Enable a user again',
        description: 'Sessions that were ended stay ended; signing in works again, and so do tokens made elsewhere.',
        params,
        response: { 204: Type.Null({ description: 'The user may act.' }), ...problems(...codes, 'user_not_found') },
      },
    },
    async (request, reply) => {
      await setDisabled(request, false)
      return reply.code(204).send(null)
    },
  )
}
