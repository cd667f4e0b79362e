/** Web Push: where my devices are reached while they are not connected. */
import { AppError, DEVICE, type logicRpc } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { BODY_CODES, matching, problems, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const strict = { additionalProperties: false } as const
const about = { tags: ['web push'], security: SIGNED_IN }
const nothing = Type.Object({}, strict)

const Device = matching(DEVICE, 'The device that acknowledges, as on its WebSocket.')
const Subscription = Type.Object(
  {
    device: Device,
    host: Type.String({ description: 'Of the push service. The endpoint itself is not shown again.' }),
    createdAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
  },
  strict,
)
const NewSubscription = Type.Object(
  {
    device: Device,
    endpoint: Type.String({ minLength: 1, maxLength: 1_024, description: 'Of the push service; https.' }),
    expirationTime: Type.Optional(
      Type.Union([Type.Number(), Type.Null()], { description: 'As browsers write it; it is not used.' }),
    ),
    keys: Type.Object(
      {
        p256dh: Type.String({ maxLength: 128, description: 'Public key of the browser, base64url.' }),
        auth: Type.String({ maxLength: 64, description: 'Secret of the browser, base64url.' }),
      },
      strict,
    ),
  },
  {
    description: "What PushSubscription.toJSON() gives, and the device's name.",
    examples: [
      {
        device: 'phone',
        endpoint: 'https://push.example.com/send/abc',
        keys: {
          p256dh: 'BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM',
          auth: 'tBHItJI5svbpez7KI4CCXg',
        },
      },
    ],
    ...strict,
  },
)

function subscriptionJson(subscription: logicRpc.PushSubscription | undefined) {
  if (!subscription) throw new Error('logic answered without a subscription')
  const { device, host, createdAt } = subscription
  return { device, host, createdAt }
}

export function pushSubscriptionRoutes(app: Api, deps: ApiDeps, authenticate: onRequestHookHandler): void {
  const { logic, settings } = deps

  app.get(
    '/push/vapid-key',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'getVapidKey',
        ...about,
        summary: 'The key for subscribing',
        description: 'applicationServerKey of PushManager.subscribe().',
        querystring: nothing,
        response: {
          200: Type.Object({ publicKey: Type.String() }, { description: 'In base64url.', ...strict }),
          ...problems(...TOKEN_CODES, 'not_found'),
        },
      },
    },
    async () => {
      const publicKey = settings.vapidPublicKey
      if (publicKey === undefined)
        throw new AppError('not_found', 'There is no Web Push here: TIDINGS_VAPID_PUBLIC_KEY is not set.')
      return { publicKey }
    },
  )

  app.post(
    '/me/push-subscriptions',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'putPushSubscription',
        ...about,
        summary: 'Push to a device of mine',
        description:
          'Messages that the device has not acknowledged within some seconds are pushed to it. A device has one subscription, the last ' +
          'one; an endpoint belongs to whoever gave it last. At most 20 devices.',
        body: NewSubscription,
        response: {
          201: Type.Object(Subscription.properties, { description: 'It is pushed to, within two seconds.', ...strict }),
          ...problems(...TOKEN_CODES, ...BODY_CODES, 'limit_reached'),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.identity)
      const { device, endpoint, keys } = request.body
      const { subscription } = await logic.putPushSubscription({ user, device, endpoint, ...keys })
      return reply.code(201).send(subscriptionJson(subscription))
    },
  )

  app.get(
    '/me/push-subscriptions',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'listPushSubscriptions',
        ...about,
        summary: 'My devices that are pushed to',
        description: 'Nobody else sees them.',
        querystring: nothing,
        response: {
          200: Type.Object({ subscriptions: Type.Array(Subscription) }, { description: 'By device.', ...strict }),
          ...problems(...TOKEN_CODES),
        },
      },
    },
    async (request) => {
      const { subscriptions } = await logic.listPushSubscriptions({ user: requireUser(request.identity) })
      return { subscriptions: subscriptions.map(subscriptionJson) }
    },
  )

  app.delete(
    '/me/push-subscriptions/:device',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'deletePushSubscription',
        ...about,
        summary: 'Push no more to a device of mine',
        description: 'To be called when somebody signs out: the push service knows nothing of that.',
        params: Type.Object({ device: Type.String({ description: 'The device, for example phone.' }) }),
        response: {
          204: Type.Null({ description: 'Nothing more is pushed to it.' }),
          ...problems(...TOKEN_CODES, 'not_found'),
        },
      },
    },
    async (request, reply) => {
      const { device } = request.params
      if (!DEVICE.test(device)) throw new AppError('not_found', 'This device of yours has no push subscription.')
      await logic.deletePushSubscription({ user: requireUser(request.identity), device })
      return reply.code(204).send(null)
    },
  )
}
