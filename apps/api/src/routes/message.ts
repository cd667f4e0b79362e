/** One message. */
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireReader } from '../auth.js'
import { messageStateJson } from '../history-json.js'
import { sendText } from '../reply.js'
import { As, Message, problems, SIGNED_IN, TOKEN_CODES, UserId } from '../schemas.js'

const Routed = Type.Object(
  {
    nodes: Type.Integer({ minimum: 1, description: 'Connect nodes that a push brought it to.' }),
    sessions: Type.Integer({ minimum: 0, description: 'Live sessions that it was put to there.' }),
    at: Type.Integer({ description: 'When the first push of it came, milliseconds since 1970.' }),
  },
  { additionalProperties: false },
)

const State = Type.Object(
  {
    accepted: Type.Boolean({ description: 'Always true: it would not be here.' }),
    stored: Type.Boolean({ description: 'MySQL has it.' }),
    delivered: Type.Array(UserId, { description: 'Those of whom a device has acknowledged it.' }),
    read: Type.Array(UserId, { description: 'Those who have read it.' }),
    routed: Type.Union([Routed, Type.Null()], {
      description:
        'Told to its sender: what the connect nodes remember of pushing it, one’s own sessions included. Null: none that answers ' +
        'remembers it. A node remembers the newest 65,536 entries, until it ends; what a session read from the log is not counted.',
    }),
  },
  { additionalProperties: false },
)

const MessageState = Type.Object(
  { ...Message.properties, state: State },
  { description: 'The message, as everywhere, and its state.', additionalProperties: false },
)

export function singleMessageRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/messages/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'getMessage',
        tags: ['messages'],
        summary: 'A message and what has become of it',
        description:
          'For those who may read it. Whom it has reached is told to its sender, in direct conversations and in rooms up to ' +
          '100 members, and in every conversation to how many nodes and sessions it was pushed; others find delivered and read empty and routed null.',
        security: SIGNED_IN,
        params: Type.Object({
          id: Type.String({ description: 'The id of the message, as the answer to sending it tells.' }),
        }),
        querystring: Type.Object({ as: As }, { additionalProperties: false }),
        response: { 200: MessageState, ...problems(...TOKEN_CODES, 'message_not_found') },
      },
    },
    async (request, reply) => {
      const user = requireReader(request.identity, request.query.as)
      return sendText(reply, messageStateJson(await logic.getMessage({ user, id: request.params.id })))
    },
  )
}
