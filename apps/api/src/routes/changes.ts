/** Changing what was said: edit, recall, reactions. */
import type { Accepted, Identity } from '@tidings/accept'
import { CLIENT_ID, checkContent, checkReply, requireEmoji, USER_ID } from '@tidings/protocol'
import { traceparentOf } from '@tidings/service'
import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { type Static, Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { toChange, type Wanted } from '../change.js'
import { BODY_CODES, EditMessage, matching, named, problems, Sent, SIGNED_IN, TOKEN_CODES } from '../schemas.js'
import { clientIdOf, senderOf } from '../send.js'

const tags = ['messages']
const strict = { additionalProperties: false } as const

const CHANGE_CODES = [
  'message_not_found',
  'conversation_not_found',
  'user_not_found',
  'message_not_changeable',
  'message_recalled',
  'blocked',
  'muted',
  'idempotency_conflict',
  'outcome_unknown',
] as const

const Headers = Type.Object({
  'idempotency-key': Type.Optional(matching(CLIENT_ID, 'The clientId, where none is given.')),
})
const Id = Type.String({ description: 'The id of the message, as the answer to sending it tells.' })
/** For calls without a body. */
const By = Type.Object(
  {
    from: Type.Optional(
      matching(USER_ID, 'For service tokens with the scope send, which must name it: who makes the change.'),
    ),
    clientId: Type.Optional(matching(CLIENT_ID, 'As of a message: repeating it gives the first answer again.')),
  },
  strict,
)
const Reaction = Type.Object({
  id: Id,
  emoji: Type.String({ description: 'What to react with, percent-encoded: 1 to 64 bytes of UTF-8, without blanks.' }),
})

export function changeRoutes(app: Api, deps: ApiDeps, authenticate: onRequestHookHandler): void {
  const { acceptor, logic, rates } = deps

  /** @param by who makes the change, and its key */
  async function change(
    request: Pick<FastifyRequest, 'headers'> & { identity: Identity },
    id: string,
    by: Static<typeof By>,
    wanted: () => Wanted,
  ): Promise<Accepted> {
    rates.send(request.identity)
    const from = senderOf(by, request.identity)
    const key = request.headers['idempotency-key'] as string | undefined
    const clientId = clientIdOf(by, key)
    const trace = traceparentOf(request.headers.traceparent)
    const draft = await toChange(logic, id, wanted(), { from, clientId, trace })
    const { conversation, seq, sentAt, duplicate, ...accepted } = await acceptor.accept(draft)
    return { id: accepted.id, conversation, seq, sentAt, duplicate }
  }

  app.patch(
    '/messages/:id',
    {
      onRequest: authenticate,
      config: { body: 'message', sends: true },
      schema: {
        operationId: 'editMessage',
        tags,
        summary: 'Edit a message',
        description:
          'For its sender, within the time that is set. The edit is an entry of the conversation; the answer is that of sending it.',
        security: SIGNED_IN,
        params: Type.Object({ id: Id }),
        querystring: Type.Object({}, strict),
        headers: Headers,
        body: EditMessage,
        response: {
          202: named(Sent, 'Accepted.'),
          ...problems(
            ...BODY_CODES,
            ...TOKEN_CODES,
            'invalid_content',
            'content_too_large',
            'change_window_over',
            'file_not_found',
            'word_rejected',
            'message_rejected',
            ...CHANGE_CODES,
          ),
        },
      },
    },
    async (request, reply) => {
      const content = checkContent(request.members.get('content'))
      checkReply(content)
      reply.code(202)
      return await change(request, request.params.id, request.body, () => ({ type: 'edit', content }))
    },
  )

  app.delete(
    '/messages/:id',
    {
      onRequest: authenticate,
      config: { sends: true },
      schema: {
        operationId: 'recallMessage',
        tags,
        summary: 'Recall a message',
        description:
          'For its sender, and in a room for its owner and admins, within the time that is set. What it said is shown to nobody any more. ' +
          'One that was recalled before is answered with that recall, and duplicate.',
        security: SIGNED_IN,
        params: Type.Object({ id: Id }),
        querystring: By,
        headers: Headers,
        response: {
          202: named(Sent, 'Accepted.'),
          ...problems(...TOKEN_CODES, 'change_window_over', ...CHANGE_CODES),
        },
      },
    },
    async (request, reply) => {
      reply.code(202)
      return await change(request, request.params.id, request.query, () => ({ type: 'recall' }))
    },
  )

  for (const [method, action, operationId, summary] of [
    ['PUT', 'add', 'addReaction', 'React to a message'],
    ['DELETE', 'remove', 'removeReaction', 'Take a reaction back'],
  ] as const) {
    app.route({
      method,
      url: '/messages/:id/reactions/:emoji',
      onRequest: authenticate,
      config: { sends: true },
      schema: {
        operationId,
        tags,
        summary,
        description:
          'For whoever may write in the conversation. Where it is so already nothing is written: the answer has duplicate, and names the ' +
          'newest change of the message, or the message itself.',
        security: SIGNED_IN,
        params: Reaction,
        querystring: By,
        headers: Headers,
        response: {
          202: named(Sent, 'Accepted.'),
          ...problems(...TOKEN_CODES, 'too_many_reactions', ...CHANGE_CODES),
        },
      },
      handler: async (request, reply) => {
        const { id, emoji } = request.params
        reply.code(202)
        return await change(request, id, request.query, () => ({
          type: 'reaction',
          emoji: requireEmoji(emoji),
          action,
        }))
      },
    })
  }
}
