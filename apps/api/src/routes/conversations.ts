/** What was said. */
import { AppError, requirePossibleParty } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireReader, requireUser } from '../auth.js'
import { conversationsJson, flagsJson, historyJson } from '../history-json.js'
import { sendText } from '../reply.js'
import { As, BODY_CODES, Message, named, problems, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const PAGE = 50
const MAX_CONVERSATIONS = 100
const MAX_MESSAGES = 200
const strict = { additionalProperties: false } as const
const tags = ['conversations']

const params = Type.Object({
  id: Type.String({ description: 'The conversation, for example dm:alice:bob or room:gQ3vX0aLk81ZpR_e.' }),
})

const FLAGS = {
  muted: Type.Boolean({ description: 'I want no notifications of it now. Messages come as ever.' }),
  mutedUntil: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Until when, in milliseconds since 1970; null when that is not set, or it is not muted.',
  }),
  pinned: Type.Boolean({ description: 'I keep it in sight.' }),
}
const Flags = Type.Object({ id: Type.String(), ...FLAGS }, { description: 'What I have set.', ...strict })

const SetFlags = Type.Object(
  {
    muted: Type.Optional(Type.Boolean({ description: 'true: until I say otherwise, or until mutedUntil.' })),
    mutedUntil: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER - 1,
        description: 'Milliseconds since 1970. It says muted: true by itself.',
      }),
    ),
    pinned: Type.Optional(Type.Boolean()),
  },
  { minProperties: 1, examples: [{ muted: true, pinned: true }], ...strict },
)

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
        ...FLAGS,
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
            pinned: Type.Optional(
              Type.Enum(['true', 'false'], { description: 'Only those that I have pinned, or have not.' }),
            ),
            as: As,
          },
          strict,
        ),
        response: { 200: Conversations, ...problems(...TOKEN_CODES) },
      },
    },
    async (request, reply) => {
      const user = requireReader(request.identity, request.query.as)
      const { cursor = '', limit = PAGE, pinned } = request.query
      const asked = { user, cursor, limit, ...(pinned !== undefined && { pinned: pinned === 'true' }) }
      return sendText(reply, conversationsJson(await logic.listConversations(asked)))
    },
  )

  app.patch(
    '/conversations/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'setConversationFlags',
        tags,
        summary: 'Mute or pin a conversation',
        description: 'For myself, on all my devices. Nobody else sees it, and it changes nothing of what is delivered.',
        security: SIGNED_IN,
        params,
        body: SetFlags,
        response: { 200: Flags, ...problems(...BODY_CODES, ...TOKEN_CODES, 'conversation_not_found') },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      const { muted = request.body.mutedUntil === undefined ? undefined : true, pinned } = request.body
      if (muted === false && request.body.mutedUntil !== undefined)
        throw new AppError('invalid_request', 'mutedUntil is for muted: true.')
      const until = muted ? (request.body.mutedUntil ?? Number.MAX_SAFE_INTEGER) : 0
      const { id: conversation } = requirePossibleParty(request.params.id, user)
      const set = await logic.setFlags({
        ...{ user, conversation },
        ...(muted !== undefined && { mutedUntil: until }),
        ...(pinned !== undefined && { pinned }),
      })
      return { id: conversation, ...flagsJson(set, Date.now()) }
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
          'kept. Below what retention keeps: 410 with floor, the newest seq that is gone. A source that is away is a 503, never an empty page.',
        security: SIGNED_IN,
        params,
        querystring: Type.Object(
          {
            before: Type.Optional(Type.Integer({ minimum: 1, description: 'Not together with after.' })),
            after: Type.Optional(
              Type.Integer({ minimum: 0, description: '0 is the beginning; 410 when that is gone.' }),
            ),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_MESSAGES, default: PAGE })),
            as: As,
          },
          strict,
        ),
        response: { 200: History, ...problems(...TOKEN_CODES, 'conversation_not_found', 'cursor_too_old') },
      },
    },
    async (request, reply) => {
      const user = requireReader(request.identity, request.query.as)
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
        refuseExpired: true,
      })
      return sendText(reply, historyJson(page))
    },
  )
}
