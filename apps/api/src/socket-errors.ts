/** What the HTTP parser refuses before there is a request: answered by hand, on the socket. */
import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { AppError } from '@tidings/protocol'
import { COMMON_HEADERS, requestIdOf } from './exchanges.js'
import { PROBLEM_TYPE, problemOf } from './problem.js'

const REQUEST_TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT'

const timedElsewhere = Symbol('timed elsewhere')
interface Timed extends Socket {
  [timedElsewhere]?: boolean
}

/** The server has one time for all requests: whoever looks after the time of the one that comes on a socket now says so, and when it is over. */
export function timeElsewhere(socket: Socket, elsewhere: boolean): void {
  const timed: Timed = socket
  timed[timedElsewhere] = elsewhere
}

/** Answers once, and closes: what follows on this socket cannot be told apart from what was refused. */
export function onClientError(error: Error & { code?: string }, socket: Timed): void {
  // Told once for each request: nothing ends it, and the next one on this socket has its time again.
  if (error.code === REQUEST_TIMEOUT && socket[timedElsewhere]) return
  if (error.code === 'ECONNRESET' || !socket.writable || answerHasBegun(socket)) {
    socket.destroy()
    return
  }
  const requestId = requestIdOf({ headers: {} })
  const problem = problemOf(toProblemError(error.code))
  const body = JSON.stringify({ ...problem, requestId })
  const headers = {
    ...COMMON_HEADERS,
    'x-request-id': requestId,
    'content-type': PROBLEM_TYPE,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join('')}\r\n${body}`, () =>
    socket.destroy(),
  )
}

function toProblemError(code: string | undefined): AppError {
  if (code === REQUEST_TIMEOUT) return new AppError('request_timeout', 'Send the whole request sooner.')
  if (code === 'HPE_HEADER_OVERFLOW') return new AppError('headers_too_large', 'Send at most 16 KiB of headers.')
  return new AppError('invalid_request', 'This is not a valid HTTP request.')
}

/** node:http keeps the running answer of a socket there; a second one in its middle would be taken for its body. */
const answerHasBegun = (socket: Socket & { _httpMessage?: ServerResponse }): boolean =>
  socket._httpMessage?.headersSent === true
