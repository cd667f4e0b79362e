/** Answers to HTTP requests that do not become a WebSocket, as problem documents (RFC 9457). */
import { AppError, errorTable } from '@tidings/protocol'

export interface HttpAnswer {
  status: number
  headers: Readonly<Record<string, string>>
  body: string
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
