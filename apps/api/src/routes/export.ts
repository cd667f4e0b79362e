/** One's own data, to take along. */
import { Readable } from 'node:stream'
import type { Identity } from '@tidings/accept'
import { AppError, toAppError } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { exportLines } from '../export.js'
import type { RequestLog } from '../request-log.js'
import { problems, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const NDJSON = 'application/x-ndjson'

export function exportRoutes(
  app: Api,
  { logic, exports, seenUsers, isRevoked }: ApiDeps,
  authenticate: onRequestHookHandler,
  log: RequestLog,
): void {
  /** The token itself may end meanwhile: it cannot be renewed in the midst of an answer. @throws AppError `unauthenticated`, `user_disabled`, `unavailable` */
  function requireSession(identity: Identity): undefined | Promise<void> {
    const { sessionId } = identity
    if (sessionId !== undefined && isRevoked(sessionId)) throw new AppError('unauthenticated', 'The session has ended.')
    return seenUsers.check(identity)
  }

  app.get(
    '/me/export',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'exportMe',
        tags: ['users'],
        summary: 'Take my data along',
        description:
          'A line of JSON for each thing that is known of me: user, device, session, file, block, conversation, room, message, left. Messages are mine, or ' +
          'with all=1 all that I may read; behind left, a room that I am not in any more, or was not for a while, mine alone. The last line has kind end; without it something is missing: ask again. One at a time.',
        security: SIGNED_IN,
        querystring: Type.Object(
          { all: Type.Optional(Type.Enum(['0', '1'], { description: '1: what others have said to me, too.' })) },
          { additionalProperties: false },
        ),
        response: {
          200: { description: 'The lines.', content: { [NDJSON]: { schema: Type.String() } } },
          ...problems(...TOKEN_CODES, 'user_not_found'),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const running = await exports.take(user)
      const { identity } = request
      const lines = exportLines(logic, { user, all: request.query.all === '1' }, running, () =>
        requireSession(identity),
      )
      // One page ahead of the reader. A cut connection ends it, and with it whatever is asked for.
      const body = Readable.from(lines, { highWaterMark: 1 })
      // Before that, the answer is a problem like others.
      body.on('error', (error) => {
        if (reply.raw.headersSent) log.failed(request, toAppError(error))
      })
      // Also when nothing of it was read.
      body.on('close', () => void running.drop())
      reply
        .header('content-type', NDJSON)
        .header('content-disposition', 'attachment; filename="tidings-export.ndjson"')
        .header('cache-control', 'no-store')
      // Typed by the schema, which says what the bytes are.
      return reply.send(body as unknown as string)
    },
  )
}
