/** Plain HTTP on the port of the sockets: polls, and what pages of other origins need to call them (Fetch standard, "CORS protocol"). */
import { AppError } from '@tidings/protocol'
import { refuseOrigin } from './admission.js'
import { LONG_POLL_PATH } from './long-poll.js'
import { type HttpAnswer, plainAnswer, problemAnswer } from './plain-answer.js'
import type { PlainRequest, TransportOptions } from './transport.js'

const PREFLIGHT = {
  'access-control-allow-methods': 'GET',
  'access-control-allow-headers': 'authorization',
  'access-control-max-age': '600',
}

/** @param poll answers a poll */
export function createHttp(
  poll: (request: PlainRequest, gone: AbortSignal) => Promise<HttpAnswer>,
  origins: readonly string[],
): TransportOptions['http'] {
  return async (request, gone) => {
    if (request.path !== LONG_POLL_PATH) return plainAnswer('not-found')
    const origin = request.header('origin')
    const refusal = refuseOrigin(request, origins)
    if (refusal) return refusal
    const allowed: Record<string, string> =
      origin === '' ? {} : { 'access-control-allow-origin': origins.includes('*') ? '*' : origin, vary: 'origin' }
    if (request.method === 'OPTIONS') return { status: 204, headers: { ...allowed, ...PREFLIGHT }, body: '' }
    const answer = request.method === 'GET' ? await poll(request, gone) : notAllowed
    return { ...answer, headers: { ...answer.headers, ...allowed } }
  }
}

const notAllowed = problemAnswer(new AppError('method_not_allowed', 'A poll is a GET.'))
