/**
 * Long-polling, for clients that cannot have a WebSocket: `GET /api/v1/longpoll`. A poll is a look at a session that goes on between the
 * polls, with the same positions, entries, order and limits as one over a socket; it ends when nobody has polled for as long as a
 * socket may be silent. What an answer held comes again until a later poll brings its `ack`.
 */
import { AppError, Close, type ErrorCode, expiredStub, messageJson, toAppError } from '@tidings/protocol'
import { authenticate, closeCodeOf, deviceOf } from './admission.js'
import type { ConnectionDeps } from './connection.js'
import type { FrameDeps } from './frames.js'
import { silenceMs } from './heartbeat.js'
import { beginSession, goLive, requireCapacity } from './open.js'
import { type HttpAnswer, problemAnswer } from './plain-answer.js'
import type { PollAck, PollAcks } from './poll-ack.js'
import { type Polled, PollSocket } from './poll-socket.js'
import { Session } from './session.js'
import type { PlainRequest } from './transport.js'

export const LONG_POLL_PATH = '/api/v1/longpoll'
const TIMEOUT_S = { default: 25, most: 55 }
/** What a frame begins with whose message is to be cut out, as the very text that it is. */
const MESSAGE = '{"op":"message","message":'

interface Poll {
  session: Session
  socket: PollSocket
  /** Number of the last answer. */
  answers: number
}

export interface LongPollDeps extends Pick<ConnectionDeps, 'edge' | 'opening' | 'onSessionClosed'> {
  acks: FrameDeps['acks']
  pollAcks: PollAcks
  maxBufferedBytes: number
}

/** @returns a function that answers one poll */
export function createLongPoll(deps: LongPollDeps): (request: PlainRequest, gone: AbortSignal) => Promise<HttpAnswer> {
  const { edge, opening, acks, pollAcks } = deps
  const polls = new Map<string, Poll>()
  const keyOf = (user: string, device: string): string => `${user} ${device}`

  async function poll(request: PlainRequest, gone: AbortSignal): Promise<string> {
    const { query } = request
    const device = deviceOf(request)
    const timeoutMs = timeoutOf(query.get('timeout'))
    const ack = query.get('ack')
    const identity = await authenticate(request, edge)
    const token = ack ? pollAcks.open(ack, identity.user, device) : undefined
    const known = polls.get(keyOf(identity.user, device))
    if (known) {
      known.session.identity = identity
      known.session.lastHeard = performance.now()
      known.socket.interrupt()
    }
    if (token) await acknowledge(identity.user, device, token, known)
    const current = known && !known.session.closed ? known : open(identity, device, query)
    const polled = await current.socket.take(timeoutMs, gone)
    current.session.lastHeard = performance.now()
    if (polled.frames.length === 0 && current.session.closed) throw endOf(current.socket.code)
    return toBody(current, polled, (token) => pollAcks.seal(token, identity.user, device))
  }

  async function acknowledge(user: string, device: string, token: PollAck, known: Poll | undefined): Promise<void> {
    for (const [conversation, seq] of Object.entries(token.upTo)) {
      const shown = known?.session.positionOf(conversation)
      // Of a room that one has left nothing depends on it any more.
      if (shown === undefined && known?.session.leftAt(conversation) !== undefined) continue
      const upTo = known?.session.ackable(conversation, Math.min(seq, shown ?? seq)) ?? seq
      if (upTo > 0) acks.add(user, device, conversation, upTo)
    }
    if (known?.session.id === token.session && known.answers === token.answer) known.socket.confirm()
    // Whoever opens next reads the cursors.
    if (!known || known.session.closed) await acks.flush()
  }

  function open(identity: Session['identity'], device: string, query: URLSearchParams): Poll {
    requireCapacity(opening)
    const key = keyOf(identity.user, device)
    const wishes = { resume: false, fromOldest: query.get('from') === 'oldest' }
    const socket: PollSocket = new PollSocket(
      silenceMs(opening.heartbeatMs),
      deps.maxBufferedBytes,
      () => session.onDrain(),
      () => {
        if (polls.get(key)?.socket === socket) polls.delete(key)
      },
    )
    const session: Session = new Session(identity.user, device, identity, socket, deps.onSessionClosed)
    session.wantsGaps = query.get('gap') === '1'
    const opened = { session, socket, answers: 0 }
    polls.set(key, opened)
    opening.openings
      .run(() => beginSession(opening, session, wishes))
      .then(() => goLive(opening, session, wishes))
      .catch((thrown: unknown) => {
        const error = toAppError(thrown)
        if (error.code === 'internal')
          opening.log.error({ err: error.cause ?? error }, 'opening a polled session failed')
        session.close(closeCodeOf(error), error.code)
      })
      .finally(() => {
        socket.opening = false
      })
    return opened
  }

  return async (request, gone) => {
    try {
      return { status: 200, headers: JSON_TYPE, body: await poll(request, gone) }
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.code === 'internal') opening.log.error({ err: error.cause ?? error }, 'a poll failed')
      // Over HTTP there are no frames.
      return problemAnswer(error.code === 'bad_frame' ? new AppError('invalid_request', error.message) : error)
    }
  }
}

const JSON_TYPE = { 'content-type': 'application/json', 'cache-control': 'no-store' }

/** Of a message what is looked at here. */
interface PolledMessage {
  id: string
  conversation: string
  seq: number
  from: string
  sentAt: number
  expiresAt?: number
  collapseKey?: string
  /** The entry whose place it has taken. */
  collapses?: number
}

const stub = (message: PolledMessage, type: string): string =>
  messageJson({ ...expiredStub({ ...message, n: 0, trace: '' }), type })

function toBody(poll: Poll, { frames, more }: Polled, seal: (ack: PollAck) => string): string {
  const messages: string[] = []
  const events: string[] = []
  const upTo: Record<string, number> = {}
  const raise = (conversation: string, seq: number): void => {
    upTo[conversation] = Math.max(seq, upTo[conversation] ?? 0)
  }
  /** What was pushed with a key, and is in this answer. */
  const keyed = new Map<string, { parsed: PolledMessage; at: number }>()
  const collapse = (conversation: string, seq: number): void => {
    const older = keyed.get(`${conversation} ${seq}`)
    if (older) messages[older.at] = stub(older.parsed, 'collapsed')
  }
  for (const frame of frames) {
    if (frame.startsWith(MESSAGE)) {
      const message = frame.slice(MESSAGE.length, -1)
      const parsed = JSON.parse(message) as PolledMessage
      // Between the polls it may have waited for longer than it counts.
      if (parsed.collapses !== undefined) collapse(parsed.conversation, parsed.collapses)
      if (parsed.collapseKey !== undefined)
        keyed.set(`${parsed.conversation} ${parsed.seq}`, { parsed, at: messages.length })
      messages.push(
        parsed.expiresAt !== undefined && Date.now() >= parsed.expiresAt ? stub(parsed, 'expired') : message,
      )
      raise(parsed.conversation, parsed.seq)
      continue
    }
    const event = JSON.parse(frame) as { op: string; conversation?: string; to?: number }
    if (event.op === 'void') raise(event.conversation!, event.to!)
    events.push(frame)
  }
  // With the token, what a gap holds back outlives this session: whoever takes the ack later knows nothing of the gap.
  for (const [conversation, seq] of Object.entries(upTo)) upTo[conversation] = poll.session.ackable(conversation, seq)
  const ack = seal({ session: poll.session.id, answer: ++poll.answers, upTo })
  return `{"messages":[${messages.join(',')}],"events":[${events.join(',')}],"ack":"${ack}","more":${more}}`
}

function timeoutOf(text: string | null): number {
  if (text === null) return TIMEOUT_S.default * 1_000
  const seconds = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds <= TIMEOUT_S.most)) {
    throw new AppError('invalid_request', `timeout is a whole number of seconds from 0 to ${TIMEOUT_S.most}.`)
  }
  return seconds * 1_000
}

const RETRY_AFTER_S: Partial<Record<ErrorCode, number>> = { unavailable: 1, rate_limited: 5 }

/** What the end of a session is to whoever polls it. */
function endOf(code: number | undefined): AppError {
  const ends: Record<number, [ErrorCode, string]> = {
    [Close.Replaced]: ['session_replaced', 'A newer session of this device has taken over.'],
    [Close.Kicked]: ['unauthenticated', 'The session has ended. Sign in again.'],
    [Close.Unauthenticated]: ['unauthenticated', 'The token has ended.'],
    [Close.TooManyFrames]: ['rate_limited', 'This user has too many sessions here, or too many devices.'],
    [Close.Forbidden]: ['user_disabled', 'This account may not act any more.'],
  }
  const [error, message] = ends[code ?? 0] ?? ['unavailable', 'The session has ended here. Poll again.']
  const retryAfter = RETRY_AFTER_S[error]
  return new AppError(error, message, retryAfter === undefined ? {} : { retryAfter })
}
