/** Webhooks: a team's own servers are told of what happens. */
import type { logicRpc } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireScope } from '../auth.js'
import { Cursor, NextCursor, nextCursorOf } from '../room-json.js'
import { BODY_CODES, problems, RoomId, SIGNED_IN, TOKEN_CODES, UserId } from '../schemas.js'

const MOST_NAMED = 200
const strict = { additionalProperties: false } as const
const about = { tags: ['webhooks'], security: SIGNED_IN }
const nothing = Type.Object({}, strict)

const Url = Type.String({ minLength: 1, maxLength: 1_024, description: 'Where events are posted to; https.' })
const Events = Type.Array(Type.Enum(['message', 'room', 'receipt', 'presence']), {
  minItems: 1,
  maxItems: 4,
  description: 'What it is told of.',
})
const filter = 'Where rooms or users are named, only what concerns one of them is told.'
const Rooms = Type.Array(RoomId, { maxItems: MOST_NAMED, description: `Ids of rooms. ${filter}` })
const Users = Type.Array(UserId, { maxItems: MOST_NAMED, description: `Users. ${filter}` })
const Secret = Type.String({
  maxLength: 128,
  description: 'whsec_ and 24 to 64 random bytes in base64. Where none is given, one is made.',
})

const Webhook = Type.Object(
  {
    id: Type.String(),
    url: Url,
    events: Events,
    rooms: Rooms,
    users: Users,
    enabled: Type.Boolean(),
    disabledBecause: Type.Union([Type.Enum(['operator', 'gone']), Type.Null()], {
      description: 'gone: the endpoint answered 410.',
    }),
    createdAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
    createdBy: Type.String({ description: 'The service whose token made it.' }),
    due: Type.Integer({ description: 'Deliveries that wait.' }),
    dead: Type.Integer({ description: 'Deliveries that were given up.' }),
    dropped: Type.Integer({ description: 'Events that were not taken because 100,000 deliveries waited.' }),
    oldSecretUntil: Type.Union([Type.Integer(), Type.Null()], {
      description: 'Milliseconds since 1970 until which deliveries are signed with the secret before this one, too.',
    }),
  },
  { description: 'An endpoint that is told of events.', ...strict },
)
const Made = Type.Object(
  { ...Webhook.properties, secret: Type.String({ description: 'By which deliveries are signed. Not shown again.' }) },
  { description: 'The webhook is made; within two seconds it is told of events.', ...strict },
)
const example = { url: 'https://example.com/tidings', events: ['message'] }
const NewWebhook = Type.Object(
  { url: Url, events: Events, rooms: Type.Optional(Rooms), users: Type.Optional(Users), secret: Type.Optional(Secret) },
  { examples: [example], ...strict },
)
const Change = Type.Object(
  {
    url: Type.Optional(Url),
    events: Type.Optional(Events),
    rooms: Type.Optional(Rooms),
    users: Type.Optional(Users),
    secret: Type.Optional(Secret),
    oldSecretFor: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        description:
          'Seconds from now for which deliveries are signed with the old secret, too; 0 ends it at once. When left out with a new secret, as TIDINGS_HOOKS_SECRET_OVERLAP_S says.',
      }),
    ),
    enabled: Type.Optional(Type.Boolean()),
  },
  { examples: [{ enabled: false }], minProperties: 1, ...strict },
)
const Dead = Type.Object(
  {
    deliveries: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          event: Type.String({ description: 'Its webhook-id.' }),
          body: Type.String({ description: 'What was posted, as text.' }),
          tries: Type.Integer(),
          createdAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
          deadAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
          reason: Type.String(),
        },
        strict,
      ),
    ),
    nextCursor: NextCursor,
  },
  { description: 'A page, the oldest first.', ...strict },
)
const Retry = Type.Object(
  { ids: Type.Optional(Type.Array(Type.String({ pattern: '^\\d{1,15}$' }), { minItems: 1, maxItems: 1_000 })) },
  { examples: [{ ids: ['42'] }], ...strict },
)
const Retried = Type.Object({ retried: Type.Integer() }, { description: 'How many are due again.', ...strict })
const params = Type.Object({ id: Type.String({ maxLength: 64, description: 'The webhook.' }) })

function webhookJson(webhook: logicRpc.Webhook | undefined) {
  if (!webhook) throw new Error('logic answered without a webhook')
  const { id, url, rooms, users, enabled, createdAt, createdBy, due, dead, dropped } = webhook
  const events = webhook.events as ('message' | 'room' | 'receipt' | 'presence')[]
  const disabledBecause = (webhook.disabledBecause || null) as 'operator' | 'gone' | null
  const oldSecretUntil = webhook.oldSecretUntil || null
  return {
    ...{ id, url, events, rooms, users, enabled, disabledBecause, createdAt, createdBy, due, dead, dropped },
    oldSecretUntil,
  }
}

export function webhookRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.post(
    '/webhooks',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'createWebhook',
        ...about,
        summary: 'Make a webhook',
        description:
          'For service tokens with the scope admin. The endpoint is told of what happens from now on, at least once, signed. At most 100.',
        body: NewWebhook,
        response: { 201: Made, ...problems(...TOKEN_CODES, ...BODY_CODES, 'limit_reached') },
      },
    },
    async (request, reply) => {
      const service = requireScope(request.identity, 'admin')
      const { url, events, rooms = [], users = [], secret = '' } = request.body
      const made = await logic.createWebhook({ service, url, events, rooms, users, secret })
      return reply.code(201).send({ ...webhookJson(made.webhook), secret: made.secret })
    },
  )

  app.get(
    '/webhooks',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'listWebhooks',
        ...about,
        summary: 'All webhooks',
        description: 'For service tokens with the scope admin. Without their secrets.',
        querystring: nothing,
        response: {
          200: Type.Object({ webhooks: Type.Array(Webhook) }, { description: 'The oldest first.', ...strict }),
          ...problems(...TOKEN_CODES),
        },
      },
    },
    async (request) => {
      requireScope(request.identity, 'admin')
      return { webhooks: (await logic.listWebhooks({})).webhooks.map(webhookJson) }
    },
  )

  app.patch(
    '/webhooks/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'updateWebhook',
        ...about,
        summary: 'Change a webhook',
        description:
          'For service tokens with the scope admin. What is not given stays. One that is not enabled is told nothing, and what happens ' +
          'meanwhile is not told later; what was due before waits.',
        params,
        body: Change,
        response: {
          200: Type.Object(Webhook.properties, { description: 'As it is now.', ...strict }),
          ...problems(...TOKEN_CODES, ...BODY_CODES, 'not_found'),
        },
      },
    },
    async (request) => {
      requireScope(request.identity, 'admin')
      const { url = '', events = [], rooms, users, secret = '', oldSecretFor, enabled } = request.body
      const { webhook } = await logic.updateWebhook({
        ...{ id: request.params.id, url, events, secret, oldSecretForS: oldSecretFor, enabled },
        rooms: rooms && { ids: rooms },
        users: users && { ids: users },
      })
      return webhookJson(webhook)
    },
  )

  app.delete(
    '/webhooks/:id',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'deleteWebhook',
        ...about,
        summary: 'End a webhook',
        description: 'For service tokens with the scope admin. What was due to it is forgotten.',
        params,
        response: { 204: Type.Null({ description: 'It is gone.' }), ...problems(...TOKEN_CODES, 'not_found') },
      },
    },
    async (request, reply) => {
      requireScope(request.identity, 'admin')
      await logic.deleteWebhook({ id: request.params.id })
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/webhooks/:id/dead',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'listDeadDeliveries',
        ...about,
        summary: 'What was given up for a webhook',
        description: 'For service tokens with the scope admin. Kept for 30 days, the newest 10,000.',
        params,
        querystring: Type.Object(
          { cursor: Cursor, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })) },
          strict,
        ),
        response: { 200: Dead, ...problems(...TOKEN_CODES, 'not_found') },
      },
    },
    async (request) => {
      requireScope(request.identity, 'admin')
      const { cursor = '', limit = 50 } = request.query
      const page = await logic.listDeadDeliveries({ webhook: request.params.id, cursor, limit })
      return { deliveries: page.deliveries, nextCursor: nextCursorOf(page) }
    },
  )

  app.post(
    '/webhooks/:id/dead/retry',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'retryDeliveries',
        ...about,
        summary: 'Try again what was given up',
        description: 'For service tokens with the scope admin. Those that are named, or the oldest thousand.',
        params,
        body: Retry,
        response: { 200: Retried, ...problems(...TOKEN_CODES, ...BODY_CODES, 'not_found') },
      },
    },
    async (request) => {
      requireScope(request.identity, 'admin')
      const { retried } = await logic.retryDeliveries({ webhook: request.params.id, ids: request.body.ids ?? [] })
      return { retried }
    },
  )
}
