/** One message. */
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireReader } from '../auth.js'
import { messageStateJson } from '../history-json.js'
import { sendText } from '../reply.js'
import { As, Message, problems, SIGNED_IN, TOKEN_CODES, UserId } from '../schemas.js'

const State = Type.Object(
  {
    accepted: Type.Boolean({ description: 'Always true: it would not be here.' }),
    stored: Type.Boolean({ description: 'MySQL has it.' }),
    delivered: Type.Array(UserId, { description: 'Those of whom a device has acknowledged it.' }),
    read: Type.Array(UserId, { description: 'Those who have read it.' }),
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
          '100 members; others find delivered and read empty.',
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
