/** One request and its answer, from the outside: its id, its headers, its place among those in flight, its time. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError, REQUEST_ID } from '@tidings/protocol'
import { jitterSeconds } from '@tidings/service'
import type { FastifyRequest } from 'fastify'
import type { Api, ApiDeps, ApiLimits } from './api.js'
import { createHttpMetrics } from './metrics.js'
import type { RequestLog } from './request-log.js'

const ID_DIGITS = 32
let ids = ''
let next = 0

/** 128 random bits in hex, made for 256 requests at once: a UUID, put together from twenty pieces, cost a microsecond more. */
function newRequestId(): string {
  if (next === ids.length) {
    ids = randomBytes(256 * (ID_DIGITS / 2)).toString('hex')
    next = 0
  }
  const id = ids.slice(next, next + ID_DIGITS)
  next += ID_DIGITS
  return id
}

/** The caller's request id when it is well-formed, else a new one. */
export function requestIdOf({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : newRequestId()
}

/** Headers of every answer but the documentation's, which may be kept. */
export const COMMON_HEADERS = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' } as const

const exchange = Symbol('exchange')
interface Watched extends ServerResponse {
  [exchange]?: { request: FastifyRequest; began: number }
}

const OUTCOMES = ['', '1xx', '2xx', '3xx', '4xx', '5xx']

/** Sheds what is too much, and measures the rest. */
export function watchExchanges(
  app: Api,
  { metrics, eventLoop }: Pick<ApiDeps, 'metrics' | 'eventLoop'>,
  limits: ApiLimits,
  log: RequestLog,
): void {
  let inFlight = 0
  const { answered } = createHttpMetrics(metrics, () => inFlight)

  const isTooMuch = (): boolean =>
    inFlight > limits.inFlight || (inFlight > limits.loopDelayInFlight && eventLoop.p95Ms > limits.loopDelayMs)

  // On the raw answer's close, which also comes when the client goes away in the middle.
  function onClose(this: Watched): void {
    inFlight--
    const watched = this[exchange]
    if (!watched) return
    const { request, began } = watched
    const ms = performance.now() - began
    const { url = 'unmatched' } = request.routeOptions
    const outcome = this.writableEnded ? OUTCOMES[Math.trunc(this.statusCode / 100)]! : 'cut'
    answered(`${request.method} ${url}`, outcome, ms)
    if (ms >= limits.slowMs && !request.routeOptions.config?.takesLong) log.slow(request, this.statusCode, ms)
  }

  app.addHook('onRequest', (request, reply, done) => {
    const raw: Watched = reply.raw
    raw[exchange] = { request, began: performance.now() }
    raw.on('close', onClose)
    inFlight++
    reply.header('x-request-id', request.id)
    reply.headers(COMMON_HEADERS)
    // Several Host headers were joined by the parser; which of them a proxy believed cannot be known (RFC 9112, section 3.2).
    if (request.headers.host?.includes(',')) return done(new AppError('invalid_request', 'Send one Host header.'))
    // In this order: fastify puts routeOptions together at each look.
    if (!isTooMuch() || request.routeOptions.config?.neverShed) return done()
    const retryAfter = jitterSeconds(1, 5)
    done(new AppError('overloaded', 'Too many requests are in work here. Try again shortly.', { retryAfter }))
  })
}
