/** Finding what was said. */
import { requirePossibleParty } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { searchJson } from '../history-json.js'
import { sendText } from '../reply.js'
import { Cursor, NextCursor } from '../room-json.js'
import { Message, named, problems, SIGNED_IN, TOKEN_CODES, UserId } from '../schemas.js'

const PAGE = 20
const MAX_HITS = 100
/** A search may take longer than other calls of logic. */
const DEADLINE_MS = 6_000

const Results = Type.Object(
  {
    results: Type.Array(
      Type.Object({
        message: named(Message),
        snippet: Type.String({ description: 'The text, or the part of it around the first word found.' }),
        marks: Type.Array(Type.Array(Type.Integer(), { minItems: 2, maxItems: 2 }), {
          description: 'Where the words stand in snippet: from and up to, in UTF-16 units.',
        }),
      }),
      { description: 'The best first, of equals the newest.' },
    ),
    nextCursor: NextCursor,
    complete: Type.Boolean({ description: 'false: the newest messages are not all in the index yet.' }),
  },
  { description: 'A page of what was found.' },
)

const Moment = (description: string) =>
  Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description }))

export function searchRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/search',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'searchMessages',
        tags: ['conversations'],
        summary: 'Search my conversations',
        description:
          'Texts, and names of files, that have all of these words. The last word may be the beginning of one. Chinese, Japanese, Korean and ' +
          'Thai are found by any part. Of rooms, what I may read there now. Where search is turned off: 404.',
        security: SIGNED_IN,
        querystring: Type.Object(
          {
            q: Type.String({ minLength: 1, maxLength: 200, description: 'At most 32 words.' }),
            conversation: Type.Optional(Type.String({ maxLength: 140, description: 'Only in this one.' })),
            from: Type.Optional(UserId),
            before: Moment('Sent before, in milliseconds since 1970.'),
            after: Moment('Sent after, in milliseconds since 1970.'),
            cursor: Cursor,
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_HITS, default: PAGE })),
          },
          { additionalProperties: false },
        ),
        response: { 200: Results, ...problems(...TOKEN_CODES, 'conversation_not_found', 'not_found') },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { q, from = '', before = 0, after = 0, cursor = '', limit = PAGE } = request.query
      const given = request.query.conversation
      const conversation = given === undefined ? '' : requirePossibleParty(given, user).id
      const asked = { user, query: q, conversation, from, before, after, cursor, limit }
      return sendText(reply, searchJson(await logic.searchMessages(asked, { deadlineMs: DEADLINE_MS })))
    },
  )
}
