/** The HTTP edge as an object: listening or not, with whatever parts it is given. */
import type { Server } from 'node:http'
import jwt from '@fastify/jwt'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { fastify } from 'fastify'
import { type Api, type ApiDeps, type ApiLimits, LIMITS } from './api.js'
import { createAuthenticate } from './auth.js'
import { BODY_LIMIT, readJsonBodies } from './body.js'
import { allowOrigins } from './cors.js'
import { describe } from './docs.js'
import { COMMON_HEADERS, requestIdOf, watchExchanges } from './exchanges.js'
import { answerUnknown } from './not-found.js'
import { fromFastify, problemHandler, sendProblem } from './problem.js'
import { createRequestLog } from './request-log.js'
import { ROOM_SCHEMAS } from './room-json.js'
import { serverAccountRoutes } from './routes/accounts.js'
import { adminRoutes } from './routes/admin.js'
import { authRoutes } from './routes/auth.js'
import { blockRoutes } from './routes/blocks.js'
import { changeRoutes } from './routes/changes.js'
import { conversationRoutes } from './routes/conversations.js'
import { deviceRoutes } from './routes/devices.js'
import { exportRoutes } from './routes/export.js'
import { fileRoutes } from './routes/files.js'
import { meRoutes } from './routes/me.js'
import { memberRoutes } from './routes/members.js'
import { singleMessageRoutes } from './routes/message.js'
import { messageRoutes } from './routes/messages.js'
import { offlineRoutes } from './routes/offline.js'
import { positionRoutes } from './routes/positions.js'
import { presenceRoutes } from './routes/presence.js'
import { pushRoutes } from './routes/push.js'
import { pushSubscriptionRoutes } from './routes/push-subscriptions.js'
import { roomRoutes } from './routes/rooms.js'
import { searchRoutes } from './routes/search.js'
import { uploadRoutes } from './routes/uploads.js'
import { webhookRoutes } from './routes/webhooks.js'
import { SHARED_SCHEMAS } from './schemas.js'
import { serializerCompiler } from './serialize.js'
import { onClientError } from './socket-errors.js'
import { validatorCompiler } from './validate.js'

/** @returns the server, not yet listening; `inject` works on it */
export function buildApp(deps: ApiDeps): Api {
  const { settings, tokens, seenUsers, rates } = deps
  const limits = { ...LIMITS, ...deps.limits }
  const app = createServer(settings.trustProxy, limits)
  const log = createRequestLog(deps.log)

  app.decorateRequest('identity')
  app.decorateRequest('members')
  app.decorateRequest('text')
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler(app))
  app.setErrorHandler(problemHandler(log))
  readJsonBodies(app)
  watchExchanges(app, deps, limits, log)
  allowOrigins(app, settings.origins)
  answerUnknown(app)
  // Calls with a token are counted where it is checked, or where none is asked for (routes/auth.ts).
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.headers.authorization === undefined && request.method !== 'OPTIONS') rates.stranger(request.ip)
    done()
  })

  app.register(jwt, {
    secret: settings.jwtSecret,
    sign: { algorithm: 'HS256', header: { alg: 'HS256', typ: 'at+jwt' } },
  })
  for (const schema of [...SHARED_SCHEMAS, ...ROOM_SCHEMAS]) app.addSchema(schema)
  describe(app)
  const authenticate = createAuthenticate(tokens, seenUsers, rates)
  app.register(
    (scope, _options, done) => {
      authRoutes(scope, deps, authenticate)
      meRoutes(scope, deps, authenticate)
      exportRoutes(scope, deps, authenticate, log)
      blockRoutes(scope, deps, authenticate)
      messageRoutes(scope, deps, authenticate, log)
      singleMessageRoutes(scope, deps, authenticate)
      changeRoutes(scope, deps, authenticate)
      conversationRoutes(scope, deps, authenticate)
      positionRoutes(scope, deps, authenticate)
      offlineRoutes(scope, deps, authenticate)
      roomRoutes(scope, deps, authenticate)
      memberRoutes(scope, deps, authenticate)
      presenceRoutes(scope, deps, authenticate)
      deviceRoutes(scope, deps, authenticate)
      serverAccountRoutes(scope, deps, authenticate)
      adminRoutes(scope, deps)
      uploadRoutes(scope, deps, authenticate)
      fileRoutes(scope, deps, authenticate)
      searchRoutes(scope, deps, authenticate)
      webhookRoutes(scope, deps, authenticate)
      pushSubscriptionRoutes(scope, deps, authenticate)
      pushRoutes(scope, deps, authenticate, log)
      done()
    },
    { prefix: '/api/v1' },
  )
  return app
}

function createServer(trustProxy: readonly string[], limits: ApiLimits): Api {
  const app = fastify<Server>({
    // Requests leave lines through request-log.ts only: a child logger per request costs, and says nothing when all is well.
    logger: false,
    bodyLimit: BODY_LIMIT,
    genReqId: requestIdOf,
    trustProxy: trustProxy.length === 0 ? false : [...trustProxy],
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionTimeout: limits.socketIdleMs,
    // While it stops, what still comes on an open connection is answered, with connection: close.
    return503OnClosing: false,
    // As long as a URL may be: what is too long for what it names is refused by whoever knows what that is, and not as a missing page.
    routerOptions: { maxParamLength: 16 * 1024 },
    http: {
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      connectionsCheckingInterval: limits.checkEveryMs,
      // A header that came twice shows as one with a comma, and is refused where only one makes sense.
      joinDuplicateHeaders: true,
    },
    clientErrorHandler: onClientError,
    frameworkErrors: (error, request, reply) => {
      reply.headers({ ...COMMON_HEADERS, 'x-request-id': request.id })
      sendProblem(request, reply, fromFastify(error))
    },
  }).withTypeProvider<TypeBoxTypeProvider>()
  app.server.maxConnections = limits.connections
  return app
}
