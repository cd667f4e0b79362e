/** Pages of listed origins may call (Fetch standard, "CORS protocol"). No cookies are used, so no credentials are allowed. */
import type { Api } from './api.js'

const PREFLIGHT_HEADERS = {
  'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
  'access-control-allow-headers':
    'authorization, content-type, idempotency-key, x-request-id, traceparent, x-file-name, range, if-range, if-none-match',
  'access-control-max-age': '600',
} as const

/** What a page may read beside what it always may. */
const EXPOSED = 'x-request-id, retry-after, etag, content-range, accept-ranges, content-disposition'

/** @param origins exact origins, or `*` */
export function allowOrigins(app: Api, origins: readonly string[]): void {
  const listed = new Set(origins)
  const anyone = listed.has('*')
  app.addHook('onRequest', (request, reply, done) => {
    const { origin } = request.headers
    if (origin === undefined) return done()
    reply.header('vary', 'origin')
    const allowed = anyone || listed.has(origin)
    if (allowed) {
      reply.header('access-control-allow-origin', anyone ? '*' : origin)
      reply.header('access-control-expose-headers', EXPOSED)
    }
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return done()
    if (allowed) reply.headers(PREFLIGHT_HEADERS)
    reply.code(204).send()
  })
}
