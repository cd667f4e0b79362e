/** What was said. */
import { AppError, requirePossibleParty } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { conversationsJson, historyJson } from '../history-json.js'
import { sendText } from '../reply.js'
import { Message, named, problems, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const PAGE = 50
const MAX_CONVERSATIONS = 100
const MAX_MESSAGES = 200
const strict = { additionalProperties: false } as const
const tags = ['conversations']

const Conversations = Type.Object(
  {
    conversations: Type.Array(
      Type.Object({
        id: Type.String(),
        kind: Type.Enum(['dm', 'room', 'feed']),
        title: Type.String({ description: "The other's display name, or the room's name." }),
        head: Type.Integer({ description: 'The newest seq.' }),
        delivered: Type.Integer({ description: 'What one of my devices has acknowledged.' }),
        read: Type.Integer({ description: 'What I have read.' }),
        unread: Type.Integer({ description: 'How many messages I have not read.' }),
        lastMessage: Type.Union([named(Message), Type.Null()]),
      }),
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()], { description: 'For the next page; null at the end.' }),
  },
  { description: 'A page of conversations.' },
)

const History = Type.Object(
  {
    messages: Type.Array(named(Message), { description: 'By seq, ascending.' }),
    void: Type.Array(Type.Array(Type.Integer(), { minItems: 2, maxItems: 2 }), {
      description: 'Ranges of seq, both ends included, that hold nothing and never will.',
    }),
    head: Type.Integer({ description: 'The newest seq of the conversation.' }),
    complete: Type.Boolean({ description: 'Every seq of the page is a message or in void.' }),
  },
  { description: 'A page of messages.' },
)

export function conversationRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/conversations',
    {
      onRequest: authenticate,
      config: { neverShed: true },
      schema: {
        operationId: 'listConversations',
        tags,
        summary: 'My conversations',
        description: 'Newest first, with how far I have got in each.',
        security: SIGNED_IN,
        querystring: Type.Object(
          {
            cursor: Type.Optional(Type.String({ maxLength: 512, description: 'nextCursor of the page before.' })),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_CONVERSATIONS, default: PAGE })),
          },
          strict,
        ),
        response: { 200: Conversations, ...problems(...TOKEN_CODES) },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { cursor = '', limit = PAGE } = request.query
      return sendText(reply, conversationsJson(await logic.listConversations({ user, cursor, limit })))
    },
  )

  app.get(
    '/conversations/:id/messages',
    {
      onRequest: authenticate,
      config: { neverShed: true },
      schema: {
        operationId: 'readHistory',
        tags,
        summary: 'A page of a conversation',
        description:
          'Without before and after: the newest messages. before: those below a seq, newest kept. after: those above a seq, oldest ' +
          'kept. A source that is away is a 503, never an empty page.',
        security: SIGNED_IN,
        params: Type.Object({
          id: Type.String({ description: 'The conversation, for example dm:alice:bob or room:gQ3vX0aLk81ZpR_e.' }),
        }),
        querystring: Type.Object(
          {
            before: Type.Optional(Type.Integer({ minimum: 1, description: 'Not together with after.' })),
            after: Type.Optional(Type.Integer({ minimum: 0, description: '0 is the beginning.' })),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_MESSAGES, default: PAGE })),
          },
          strict,
        ),
        response: { 200: History, ...problems(...TOKEN_CODES, 'conversation_not_found', 'cursor_too_old') },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { before, after, limit = PAGE } = request.query
      if (before !== undefined && after !== undefined)
        throw new AppError('invalid_request', 'Give before or after, not both.')
      const { id } = requirePossibleParty(request.params.id, user)
      const page = await logic.readHistory({
        user,
        conversation: id,
        before: before ?? 0,
        after: after ?? 0,
        fromStart: after === 0,
        limit,
      })
      return sendText(reply, historyJson(page))
    },
  )
}
