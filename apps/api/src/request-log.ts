/** The few lines that requests leave in the log: failures and slow ones, never bodies, queries or headers. */
import type { IncomingMessage } from 'node:http'
import { type AppError, errorTable } from '@tidings/protocol'
import { type Logger, traceparentOf } from '@tidings/service'
import type { FastifyRequest } from 'fastify'
import { pathOf } from './problem.js'

/** Under overload thousands of answers a second are alike: one line a second says so. */
const EVERY_MS = 1_000

export interface RequestLog {
  /** Every `internal` error is a line; refusals with 503 are counted and told once a second. */
  failed(request: FastifyRequest, error: AppError): void
  slow(request: FastifyRequest, status: number, ms: number): void
}

const traceIdOf = (raw: IncomingMessage): string | undefined =>
  traceparentOf(raw.headers.traceparent).slice(3, 35) || undefined

const factsOf = (request: FastifyRequest) => ({
  reqId: request.id,
  traceId: traceIdOf(request.raw),
  method: request.method,
  path: pathOf(request.url),
})

export function createRequestLog(log: Logger, now: () => number = () => performance.now()): RequestLog {
  const refusals = createThrottle(now)
  const slowOnes = createThrottle(now)
  return {
    failed(request, error) {
      if (error.code === 'internal') {
        log.error({ ...factsOf(request), err: error.cause ?? error }, 'a request failed')
        return
      }
      if (errorTable[error.code].http < 500) return
      const silent = refusals()
      if (silent === undefined) return
      log.warn({ ...factsOf(request), code: error.code, err: error.cause, silent }, 'a request was refused')
    },
    slow(request, status, ms) {
      const silent = slowOnes()
      if (silent === undefined) return
      log.warn({ ...factsOf(request), status, ms: Math.round(ms), silent }, 'a request was slow')
    },
  }
}

/** One line a second. @returns a function that answers how many calls were silenced since the last line, or undefined when this one is too */
export function createThrottle(now: () => number = () => performance.now()): () => number | undefined {
  let next = Number.NEGATIVE_INFINITY
  let silenced = 0
  return () => {
    if (now() < next) {
      silenced++
      return undefined
    }
    const count = silenced
    silenced = 0
    next = now() + EVERY_MS
    return count
  }
}
