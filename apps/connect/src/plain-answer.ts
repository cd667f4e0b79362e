/** Answers to HTTP requests that do not become a WebSocket, as problem documents (RFC 9457). */
import { AppError, errorTable } from '@tidings/protocol'

export interface PlainAnswer {
  status: number
  body: string
}

export function problemAnswer(error: AppError): PlainAnswer {
  const { http, title } = errorTable[error.code]
  const problem = {
    type: `urn:tidings:error:${error.code}`,
    title,
    status: http,
    detail: error.message,
    code: error.code,
  }
  return { status: http, body: JSON.stringify(problem) }
}

const ANSWERS = {
  'not-found': problemAnswer(new AppError('not_found', 'This port serves the WebSocket at /api/v1/ws.')),
  'not-an-upgrade': problemAnswer(new AppError('upgrade_required', 'Connect with a WebSocket client.')),
  'bad-upgrade': problemAnswer(new AppError('invalid_request', 'The WebSocket handshake is not complete.')),
  method: problemAnswer(new AppError('method_not_allowed', 'Only GET is allowed here.')),
  draining: problemAnswer(new AppError('unavailable', 'This node is restarting. Connect again.')),
}

export const plainAnswer = (name: keyof typeof ANSWERS): PlainAnswer => ANSWERS[name]
