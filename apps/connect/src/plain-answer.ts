/** Answers to HTTP requests that do not become a WebSocket, as problem documents (RFC 9457). */
import { randomBytes } from 'node:crypto'
import { AppError, errorTable, REQUEST_ID } from '@tidings/protocol'

export interface HttpAnswer {
  status: number
  headers: Readonly<Record<string, string>>
  body: string
}

/** Every answer has an `x-request-id`: the caller's where it is well-formed, else a new one. @returns all headers of the answer */
export function headersOf({ headers }: HttpAnswer, given = ''): Readonly<Record<string, string>> {
  if ('x-request-id' in headers) return headers
  return { ...headers, 'x-request-id': REQUEST_ID.test(given) ? given : randomBytes(8).toString('hex') }
}

const PROBLEM = { 'content-type': 'application/problem+json' }

export function problemAnswer(error: AppError): HttpAnswer {
  const { http, title } = errorTable[error.code]
  const problem = {
    type: `urn:tidings:error:${error.code}`,
    title,
    status: http,
    detail: error.message,
    code: error.code,
  }
  const headers = {
    ...PROBLEM,
    ...(http === 426 && { upgrade: 'websocket' }),
    ...((http === 429 || http === 503) && { 'retry-after': String(error.retryAfter ?? 1) }),
  }
  return { status: http, headers, body: JSON.stringify(problem) }
}

const ANSWERS = {
  'not-found': problemAnswer(
    new AppError('not_found', 'This port serves the WebSocket at /api/v1/ws and polls at /api/v1/longpoll.'),
  ),
  'not-an-upgrade': problemAnswer(new AppError('upgrade_required', 'Connect with a WebSocket client.')),
  'bad-upgrade': problemAnswer(new AppError('invalid_request', 'The WebSocket handshake is not complete.')),
  method: problemAnswer(new AppError('method_not_allowed', 'Only GET is allowed here.')),
  draining: problemAnswer(new AppError('unavailable', 'This node is restarting. Connect again.')),
}

export const plainAnswer = (name: keyof typeof ANSWERS): HttpAnswer => ANSWERS[name]
