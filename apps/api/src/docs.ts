/** The OpenAPI document and its pages. */

import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { SIGNED_HEADERS } from '@tidings/service'
import type { Api } from './api.js'

export const VERSION = '0.1.0'
export const DOCUMENT_PATH = '/api/v1/openapi.json'

/** Scripts and styles of this server only; swagger-ui sets style attributes and draws with data: images. */
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** Must be called before the routes that it describes are added. */
export function describe(app: Api): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tidings',
        version: VERSION,
        description:
          'Realtime chat and push. POST a message, and every device of every recipient gets it, in order, once. ' +
          'Errors are problem documents (RFC 9457) with a stable `code`; every answer has an `x-request-id`.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      tags: [
        { name: 'auth', description: 'Sessions and tokens.' },
        { name: 'users', description: 'Profiles.' },
        { name: 'messages', description: 'Sending.' },
        { name: 'conversations', description: 'Reading.' },
        { name: 'files', description: 'Uploads, for messages of the types image and file.' },
        { name: 'push', description: 'Notifications of servers.' },
        { name: 'rooms', description: 'Rooms, who is in them, and who may not come back.' },
        { name: 'webhooks', description: 'Servers of yours that are told of what happens.' },
        { name: 'web push', description: 'Devices that are not connected.' },
        { name: 'admin', description: 'For operators. Every request is signed: docs/admin.md says how.' },
      ],
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'JWT',
            description:
              'An access token of /auth/login, a JWT that a configured key has signed (sub and exp), or a service token.',
          },
          signature: {
            type: 'apiKey',
            in: 'header',
            name: SIGNED_HEADERS.signature,
            description:
              'HMAC-SHA256 in hex with a key of TIDINGS_ADMIN_KEYS over method, path with query, SHA-256 of the body in hex, timestamp and ' +
              `nonce, one a line; beside it ${SIGNED_HEADERS.key}, ${SIGNED_HEADERS.timestamp} and ${SIGNED_HEADERS.nonce}.`,
          },
        },
      },
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `schema-${i}`) },
  })
  app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: CSP,
    theme: { title: 'Tidings API' },
    uiConfig: { url: DOCUMENT_PATH, validatorUrl: null, deepLinking: true },
  })
  let text: string | undefined
  app.get(DOCUMENT_PATH, { schema: { hide: true } }, (_request, reply) => {
    text ??= JSON.stringify(app.swagger())
    reply.type('application/json; charset=utf-8').send(text)
  })
}
