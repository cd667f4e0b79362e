/** Plain HTTP on the port of the sockets: polls, and what pages of other origins need to call them (Fetch standard, "CORS protocol"). */
import { AppError } from '@tidings/protocol'
import { refuseOrigin } from './admission.js'
import { LONG_POLL_PATH } from './long-poll.js'
import { type HttpAnswer, headersOf, plainAnswer, problemAnswer } from './plain-answer.js'
import type { PlainRequest, TransportOptions } from './transport.js'

const PREFLIGHT = {
  'access-control-allow-methods': 'GET',
  'access-control-allow-headers': 'authorization, x-request-id',
  'access-control-max-age': '600',
}

/** @param poll answers a poll */
export function createHttp(
  poll: (request: PlainRequest, gone: AbortSignal) => Promise<HttpAnswer>,
  origins: readonly string[],
): TransportOptions['http'] {
  async function answer(request: PlainRequest, gone: AbortSignal): Promise<HttpAnswer> {
    if (request.path !== LONG_POLL_PATH) return plainAnswer('not-found')
    const origin = request.header('origin')
    const refusal = refuseOrigin(request, origins)
    if (refusal) return refusal
    const allowed: Record<string, string> =
      origin === ''
        ? {}
        : {
            'access-control-allow-origin': origins.includes('*') ? '*' : origin,
            'access-control-expose-headers': 'x-request-id, retry-after',
            vary: 'origin',
          }
    if (request.method === 'OPTIONS') return { status: 204, headers: { ...allowed, ...PREFLIGHT }, body: '' }
    const polled = request.method === 'GET' ? await poll(request, gone) : notAllowed
    return { ...polled, headers: { ...polled.headers, ...allowed } }
  }

  return async (request, gone) => {
    const found = await answer(request, gone)
    return { ...found, headers: headersOf(found, request.header('x-request-id')) }
  }
}

const wrongMethod = problemAnswer(new AppError('method_not_allowed', 'A poll is a GET.'))
const notAllowed: HttpAnswer = { ...wrongMethod, headers: { ...wrongMethod.headers, allow: 'GET, OPTIONS' } }
