/** How far a device has got, and how far a person. */
import { DEVICE, requirePossibleParty } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { BODY_CODES, matching, problems, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const strict = { additionalProperties: false } as const
const tags = ['conversations']

const Seq = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'Everything up to it.' })
const Ack = Type.Object(
  { seq: Seq, device: matching(DEVICE, 'The device that has it.') },
  { examples: [{ seq: 42, device: 'phone' }], ...strict },
)
const Read = Type.Object({ seq: Seq }, { examples: [{ seq: 42 }], ...strict })
const params = Type.Object({
  id: Type.String({ description: 'The conversation, for example dm:alice:bob or room:gQ3vX0aLk81ZpR_e.' }),
})
const codes = [...TOKEN_CODES, ...BODY_CODES, 'conversation_not_found', 'beyond_head'] as const

export function positionRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.post(
    '/conversations/:id/ack',
    {
      onRequest: authenticate,
      config: { neverShed: true },
      schema: {
        operationId: 'ack',
        tags,
        summary: 'A device has everything up to a seq',
        description:
          'Cumulative, and never backwards: a lower seq than before changes nothing. It is not shown that again.',
        security: SIGNED_IN,
        params,
        body: Ack,
        response: {
          204: Type.Null({ description: 'The device stands there, or further.' }),
          ...problems(...codes, 'limit_reached'),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { seq, device } = request.body
      const { id: conversation } = requirePossibleParty(request.params.id, user)
      await logic.ack({ acks: [{ user, device, conversation, seq }], withinHead: true })
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/conversations/:id/read',
    {
      onRequest: authenticate,
      config: { neverShed: true },
      schema: {
        operationId: 'read',
        tags,
        summary: 'I have read everything up to a seq',
        description: 'Cumulative, and never backwards. It counts for all of my devices; an own message moves it too.',
        security: SIGNED_IN,
        params,
        body: Read,
        response: { 204: Type.Null({ description: 'I stand there, or further.' }), ...problems(...codes) },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { id: conversation } = requirePossibleParty(request.params.id, user)
      await logic.read({ user, conversation, seq: request.body.seq })
      return reply.code(204).send(null)
    },
  )
}
