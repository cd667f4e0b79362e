/** Reading files, by those who have them in a conversation. */
import { AppError, FILES_PATH } from '@tidings/protocol'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { dispositionOf } from '../files/media-type.js'
import { isKnown, rangeOf, type Version } from '../files/range.js'
import { createFileTickets, FILE_TICKET_LIVES_S } from '../files/tickets.js'
import { problems, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const strict = { additionalProperties: false } as const
const about = { tags: ['files'], security: SIGNED_IN }
const params = Type.Object({ id: Type.String({ description: 'The id of the file.' }) })

/** Nothing of a file runs, wherever it is opened. */
const READ_HEADERS = {
  'accept-ranges': 'bytes',
  'cache-control': 'private, no-cache',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
} as const

const Ticket = Type.Object(
  {
    url: Type.String({ description: 'The address of the file with a ticket in it.' }),
    expiresIn: Type.Integer({ description: 'For how many seconds it works.' }),
  },
  { description: 'An address that works without a header.', ...strict },
)

const bytes = { schema: Type.Unsafe<unknown>({ type: 'string', format: 'binary' }) }
export function fileRoutes(app: Api, deps: ApiDeps, authenticate: onRequestHookHandler): void {
  const { files, logic, rates, seenUsers, isRevoked } = deps
  const tickets = createFileTickets(deps.settings.jwtSecret)

  type Reading = FastifyRequest<{ Params: { id: string }; Querystring: { ticket?: string } }>

  /** A token in the header, or a ticket in the address. */
  const authenticateReader: onRequestHookHandler = function authenticateReader(request, reply, done) {
    const { params, query, headers } = request as Reading
    if (query.ticket === undefined || headers.authorization !== undefined)
      return authenticate.call(this, request, reply, done)
    byTicket(request, params.id, String(query.ticket), done)
  }

  function byTicket(request: FastifyRequest, id: string, ticket: string, done: HookHandlerDoneFunction): void {
    let asked: unknown
    try {
      const identity = tickets.read(id, ticket)
      const { sessionId } = identity
      if (sessionId !== undefined && isRevoked(sessionId))
        throw new AppError('unauthenticated', 'The session has ended.')
      request.identity = identity
      rates.call(identity)
      asked = seenUsers.check(identity)
    } catch (error) {
      done(error as Error)
      return
    }
    Promise.resolve(asked).then(() => done(), done)
  }

  async function read(request: Reading, reply: FastifyReply): Promise<FastifyReply> {
    const { file } = await logic.openFile({ user: requireUser(request.identity), id: request.params.id })
    const { id, name, mediaType, size, sha256, createdAt } = file!
    const { headers, method } = request
    const version: Version = { etag: `"${sha256}"`, modified: new Date(createdAt).toUTCString(), size }
    reply.headers({ ...READ_HEADERS, etag: version.etag, 'last-modified': version.modified })
    if (isKnown({ ifNoneMatch: headers['if-none-match'] }, version)) return reply.code(304).send()
    const conditions = { range: headers.range, ifRange: headers['if-range'] as string | undefined }
    const range = method === 'GET' ? asked(conditions, version, reply) : undefined
    const length = range ? range.last - range.first + 1 : size
    const bytes = method === 'GET' ? await files.blobs.get(id, range) : undefined
    reply.headers({
      'content-type': mediaType,
      'content-disposition': dispositionOf(mediaType, name),
      'content-length': String(length),
      ...(range && { 'content-range': `bytes ${range.first}-${range.last}/${size}` }),
    })
    return reply.code(range ? 206 : 200).send(bytes)
  }

  const querystring = Type.Object(
    {
      ticket: Type.Optional(
        Type.String({ maxLength: 1_024, description: 'From POST /files/{id}/ticket, in place of the header.' }),
      ),
    },
    strict,
  )

  app.get(
    '/files/:id',
    {
      onRequest: authenticateReader,
      exposeHeadRoute: false,
      config: { takesLong: true },
      schema: {
        operationId: 'readFile',
        ...about,
        summary: 'Read a file',
        description:
          'For whoever uploaded it, and for whoever may now read a message that shows it; for all others it does not exist. One range ' +
          'at a time (206 with content-range), If-Range, If-None-Match (304); HEAD without the bytes. What a browser could run is only ' +
          'for saving.',
        params,
        querystring,
        response: {
          200: { description: 'The bytes.', content: { 'application/octet-stream': bytes } },
          ...problems(...TOKEN_CODES, 'file_not_found', 'range_not_satisfiable'),
        },
      },
    },
    read,
  )
  app.head('/files/:id', { onRequest: authenticateReader, schema: { hide: true, params, querystring } }, read)

  app.post(
    '/files/:id/ticket',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'createFileTicket',
        ...about,
        summary: 'An address for a page',
        description:
          `Works without a header for ${FILE_TICKET_LIVES_S} s, as often as one likes, and not longer than the token of this call: for img, video and ` +
          'links. Whether the user may read the file is asked each time.',
        params,
        response: { 200: Ticket, ...problems(...TOKEN_CODES, 'file_not_found') },
      },
    },
    async (request) => {
      const { id } = request.params
      await logic.openFile({ user: requireUser(request.identity), id })
      const { ticket, expiresIn } = tickets.issue(id, request.identity)
      return { url: `${FILES_PATH}${id}?ticket=${ticket}`, expiresIn }
    },
  )

  app.delete(
    '/files/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'deleteFile',
        ...about,
        summary: 'Delete a file of mine',
        description: 'Nobody reads it from now on; messages that show it stay as they are.',
        params,
        querystring: Type.Object({}, strict),
        response: {
          204: Type.Null({ description: 'The file is deleted.' }),
          ...problems(...TOKEN_CODES, 'file_not_found'),
        },
      },
    },
    async (request, reply) => {
      await logic.deleteFile({ user: requireUser(request.identity), id: request.params.id })
      return reply.code(204).send(null)
    },
  )
}

/** @throws AppError `range_not_satisfiable` */
function asked(
  conditions: { range?: string | undefined; ifRange?: string | undefined },
  version: Version,
  reply: FastifyReply,
) {
  try {
    return rangeOf(conditions, version)
  } catch (error) {
    reply.header('content-range', `bytes */${version.size}`)
    throw error
  }
}
