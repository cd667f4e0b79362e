/** What a device missed, for clients that do not hold a WebSocket. */
import { DEVICE } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { offlineJson } from '../history-json.js'
import { sendText } from '../reply.js'
import { Message, matching, named, problems, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const PAGE = 100
const MAX_MESSAGES = 500
/** The cursor of the first page, the same as none. */
const BEGIN = '0'

const Offline = Type.Object(
  {
    messages: Type.Array(named(Message), { description: 'By conversation, then by seq.' }),
    void: Type.Record(Type.String(), Type.Array(Type.Array(Type.Integer(), { minItems: 2, maxItems: 2 })), {
      description: 'By conversation: ranges of seq, both ends included, that hold nothing and never will.',
    }),
    gap: Type.Record(Type.String(), Type.Array(Type.Array(Type.Integer(), { minItems: 2, maxItems: 2 })), {
      description:
        'By conversation: a range of seq of which nobody can tell yet whether it holds something, after Redis has lost data. The ' +
        'conversation is listed up to there; the next listing goes on.',
    }),
    nextCursor: Type.Union([Type.String(), Type.Null()], { description: 'For the next page; null at the end.' }),
    more: Type.Boolean({ description: 'There is a next page. This one may be shorter than limit all the same.' }),
  },
  { description: 'A page of messages.' },
)

export function offlineRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/offline',
    {
      onRequest: authenticate,
      config: { neverShed: true },
      schema: {
        operationId: 'readOffline',
        tags: ['conversations'],
        summary: 'What a device has not acknowledged',
        description:
          'Conversation by conversation, in seq order. The device is opened as a connection opens it: one never seen before starts after ' +
          'what any of my devices has acknowledged. No cursor of the device moves: acknowledge what was kept. What arrives meanwhile in ' +
          'a conversation that was listed already comes with the next listing. A source that is away is a 503, never a short page.',
        security: SIGNED_IN,
        querystring: Type.Object(
          {
            device: Type.Optional(matching(DEVICE, 'The device; default when left out.')),
            cursor: Type.Optional(
              Type.String({ minLength: 1, maxLength: 512, description: 'nextCursor of the page before; 0 begins.' }),
            ),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_MESSAGES, default: PAGE })),
            from: Type.Optional(
              Type.Literal('oldest', {
                description: 'List from the beginning. Given with the first page, it holds for the whole listing.',
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: { 200: Offline, ...problems(...TOKEN_CODES, 'limit_reached') },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { device = '', cursor = BEGIN, limit = PAGE, from } = request.query
      const page = await logic.readOffline({
        user,
        device,
        cursor: cursor === BEGIN ? '' : cursor,
        limit,
        fromOldest: from === 'oldest',
      })
      return sendText(reply, offlineJson(page))
    },
  )
}
