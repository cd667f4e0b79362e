/** Signing in and out with a name and a password, and tickets for sockets. */
import { OWN_ISSUER, TICKET_LIVES_S } from '@tidings/accept'
import { AppError, DEVICE, type logicRpc } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { BODY_CODES, matching, named, problems, SIGNED_IN, TOKEN_CODES, User, UserId } from '../schemas.js'

const strict = { additionalProperties: false } as const
const tags = ['auth']

const Grant = Type.Object(
  {
    user: named(User),
    accessToken: Type.String({ description: 'Send it as Authorization: Bearer.' }),
    refreshToken: Type.String({ description: 'Good for one call of /auth/refresh.' }),
    expiresIn: Type.Integer({ description: 'Seconds until the access token ends.' }),
  },
  { description: 'A session has begun, or goes on.', ...strict },
)

const Register = Type.Object(
  {
    username: UserId,
    password: Type.String({ minLength: 8, maxLength: 128 }),
    displayName: Type.Optional(Type.String({ minLength: 1, maxLength: 100, description: 'Default: the user name.' })),
  },
  { examples: [{ username: 'alice', password: 'correct horse', displayName: 'Alice' }], ...strict },
)

const Login = Type.Object(
  {
    // Not UserId: an impossible name is answered like a wrong one.
    username: Type.String({ minLength: 1, maxLength: 64 }),
    password: Type.String({ minLength: 1, maxLength: 128 }),
    device: Type.Optional(matching(DEVICE, 'Names the client whose session this is.')),
  },
  { examples: [{ username: 'alice', password: 'correct horse' }], ...strict },
)

const Refresh = Type.Object(
  { refreshToken: Type.String({ minLength: 1, maxLength: 512 }) },
  { examples: [{ refreshToken: 'the newest refresh token of the session' }], ...strict },
)

const Ticket = Type.Object(
  {
    ticket: Type.String({ description: 'For the query of the WebSocket URL: ?ticket=' }),
    expiresIn: Type.Integer({ description: 'Seconds in which it can be used, once.' }),
  },
  { description: 'A ticket.' },
)

export function authRoutes(app: Api, deps: ApiDeps, authenticate: onRequestHookHandler): void {
  const { logic, rates, tickets, settings } = deps
  const expiresIn = settings.accessTokenS

  /** Here a token opens nothing: whoever shows one is a stranger like all others. */
  const countStranger: onRequestHookHandler = (request, _reply, done) => {
    if (request.headers.authorization !== undefined) rates.stranger(request.ip)
    done()
  }

  function toReply(grant: logicRpc.Grant | undefined) {
    if (!grant?.user) throw new Error('logic answered without a grant')
    const { user, sessionId, refreshToken } = grant
    const accessToken = app.jwt.sign({ iss: OWN_ISSUER, sub: user.id, sid: sessionId }, { expiresIn })
    return { user, accessToken, refreshToken, expiresIn }
  }

  app.post(
    '/auth/register',
    {
      onRequest: countStranger,
      schema: {
        operationId: 'register',
        tags,
        summary: 'Make an account',
        description: 'Makes a user and begins its first session. The user name is the id, for good.',
        body: Register,
        response: { 201: Grant, ...problems(...BODY_CODES, 'registration_closed', 'username_taken') },
      },
    },
    async (request, reply) => {
      const { username, password, displayName = '' } = request.body
      rates.register(request.ip)
      const { grant } = await logic.register({ username, password, displayName })
      reply.code(201)
      return toReply(grant)
    },
  )

  app.post(
    '/auth/login',
    {
      onRequest: countStranger,
      schema: {
        operationId: 'login',
        tags,
        summary: 'Begin a session',
        description:
          'A wrong name and a wrong password get the same answer, after the same time. After ten wrong ones for a name, or fifty from an address, ' +
          'each further one makes the next wait, for up to a minute: 429 rate_limited.',
        body: Login,
        response: { 200: Grant, ...problems(...BODY_CODES, 'invalid_credentials', 'user_disabled') },
      },
    },
    async (request) => {
      const { username, password, device = '' } = request.body
      const { grant } = await rates.login(username, request.ip, () => logic.login({ username, password, device }))
      return toReply(grant)
    },
  )

  app.post(
    '/auth/refresh',
    {
      onRequest: countStranger,
      schema: {
        operationId: 'refresh',
        tags,
        summary: 'Trade a refresh token for a new pair',
        description:
          'The old refresh token is dead then. Its second use ends the session: one of the two users was a thief.',
        body: Refresh,
        response: { 200: Grant, ...problems(...BODY_CODES, 'unauthenticated', 'user_disabled') },
      },
    },
    async (request) => toReply((await logic.refresh(request.body)).grant),
  )

  app.post(
    '/auth/logout',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'logout',
        tags,
        summary: 'End the session',
        description: 'Its tokens stop working everywhere within 5 s, and its open sockets close.',
        security: SIGNED_IN,
        response: { 204: Type.Null({ description: 'The session has ended.' }), ...problems(...TOKEN_CODES) },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { sessionId } = request.identity
      if (sessionId === undefined)
        throw new AppError('invalid_request', 'This token was made elsewhere and has no session here. End it there.')
      await logic.logout({ user, sessionId })
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/auth/ws-ticket',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'createTicket',
        tags,
        summary: 'A ticket for a WebSocket',
        description: 'For tools that can set neither a header nor a subprotocol. A ticket works once, for 60 s.',
        security: SIGNED_IN,
        response: { 201: Ticket, ...problems(...TOKEN_CODES) },
      },
    },
    async (request, reply) => {
      requireUser(request.identity)
      const ticket = await tickets.issue(request.identity)
      reply.code(201)
      return { ticket, expiresIn: TICKET_LIVES_S }
    },
  )
}
