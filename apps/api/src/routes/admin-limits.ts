/** Limits that hold at once and everywhere, for operators. */
import { LIVE_LIMITS, type LimitName, parseLimits } from '@tidings/service'
import { type TInteger, type TOptional, Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import type { RateSettings } from '../rates.js'
import { ADMIN_CODES, BODY_CODES, problems, SIGNED } from '../schemas.js'

const strict = { additionalProperties: false } as const
const tags = ['admin']

const MEANINGS: Record<LimitName, string> = {
  sendsPerS: 'Messages per second and user, over HTTP and WebSockets together.',
  callsPerS: 'Other calls per second and user.',
  servicePerS: 'Calls and messages per second and service token.',
  addressPerS: 'Calls without a valid token per second and address.',
  loginsPerMin: 'Logins per minute and address.',
  registersPerMin: 'New accounts per minute and address.',
  connectionsPerUser: 'Sessions of a user on one connect node.',
  connectionsPerAddress: 'WebSockets from an address on one connect node.',
  sessionsPerUser: 'Sessions of a user on all connect nodes together; 0: no policy.',
}
const NAMES = Object.keys(LIVE_LIMITS) as LimitName[]

const Live = Type.Object(
  Object.fromEntries(
    NAMES.map((name) => {
      const [minimum, maximum] = LIVE_LIMITS[name]
      return [name, Type.Optional(Type.Integer({ minimum, maximum, description: MEANINGS[name] }))]
    }),
  ) as Record<LimitName, TOptional<TInteger>>,
  {
    description: 'What is set; what is not named stays as the settings say.',
    examples: [{ sendsPerS: 50, registersPerMin: 10 }],
    ...strict,
  },
)

const RATES = ['sendsPerS', 'callsPerS', 'servicePerS', 'addressPerS', 'loginsPerMin', 'registersPerMin'] as const
const InForce = Type.Object(
  Object.fromEntries(RATES.map((name) => [name, Type.Integer()])) as Record<keyof RateSettings, TInteger>,
  strict,
)

const Limits = Type.Object(
  {
    live: Live,
    inForce: Type.Union([InForce, Type.Null()], {
      description: 'The rates that this api process applies now; null with TIDINGS_RATE_LIMITS=off.',
    }),
  },
  { description: 'The limits.', ...strict },
)

export function adminLimitRoutes(app: Api, { limitsInEtcd, rates }: ApiDeps): void {
  const now = async () => {
    const text = await limitsInEtcd.read()
    return { live: (text === undefined ? {} : parseLimits(text)) ?? {}, inForce: rates.settings ?? null }
  }

  app.get(
    '/admin/limits',
    {
      schema: {
        operationId: 'adminGetLimits',
        tags,
        summary: 'The limits',
        description: 'What is set for all processes, and what this one applies.',
        security: SIGNED,
        querystring: Type.Object({}, strict),
        response: { 200: Limits, ...problems(...ADMIN_CODES) },
      },
    },
    now,
  )

  app.put(
    '/admin/limits',
    {
      schema: {
        operationId: 'adminSetLimits',
        tags,
        summary: 'Set the limits',
        description:
          'All of them at once, for every api and connect process, within a second: what is left out goes back to its setting. It outlives restarts.',
        security: SIGNED,
        body: Live,
        response: { 204: Type.Null({ description: 'They are set.' }), ...problems(...BODY_CODES, ...ADMIN_CODES) },
      },
    },
    async (request, reply) => {
      await limitsInEtcd.write(JSON.stringify(request.body))
      return reply.code(204).send(null)
    },
  )

  app.delete(
    '/admin/limits',
    {
      schema: {
        operationId: 'adminClearLimits',
        tags,
        summary: 'Back to the settings',
        description: 'Every process applies its settings again.',
        security: SIGNED,
        response: { 204: Type.Null({ description: 'Nothing is set any more.' }), ...problems(...ADMIN_CODES) },
      },
    },
    async (_request, reply) => {
      await limitsInEtcd.clear()
      return reply.code(204).send(null)
    },
  )
}
