/** A socket from its first byte to its last: who it is, then a session, then frames. */

import type { Edge } from '@tidings/accept'
import { AppError, Close, toAppError } from '@tidings/protocol'
import { authenticate, closeCodeOf, deviceOf } from './admission.js'
import { flushLate } from './flush.js'
import { type FrameDeps, handleFrame } from './frames.js'
import { Gate } from './gate.js'
import { beginSession, goLive, type OpenDeps, requireCapacity, type Wishes } from './open.js'
import { Session } from './session.js'
import type { Socket, SocketEvents, UpgradeRequest } from './transport.js'

/** Frames that a client may send before its session exists. */
const MAX_EARLY_FRAMES = 64

export interface ConnectionDeps {
  edge: Pick<Edge, 'tokens' | 'tickets' | 'seenUsers'>
  opening: OpenDeps
  frames: FrameDeps
  rateLimits: boolean
  /** Counts a connection by its address. @returns counts it off @throws AppError `rate_limited` */
  countAddress(request: UpgradeRequest): () => void
  onSessionClosed(session: Session, code: number): void
}

/** The events of one socket. It keeps nothing of the request: ten thousand idle ones should weigh little. */
export class Connection implements SocketEvents {
  #session: Session | undefined
  #early: string[] | undefined
  #gate: Gate | undefined
  #leave: (() => void) | undefined

  constructor(
    private readonly deps: ConnectionDeps,
    private readonly socket: Socket,
    request: UpgradeRequest,
  ) {
    void this.#admit(request)
  }

  async #admit(request: UpgradeRequest): Promise<void> {
    const { opening } = this.deps
    const wishes: Wishes = {
      resume: request.query.get('resume') === 'client',
      fromOldest: request.query.get('from') === 'oldest',
    }
    try {
      this.#leave = this.deps.countAddress(request)
      requireCapacity(opening)
      const session = await opening.openings.run(() => this.#begin(request, wishes))
      if (session) await goLive(opening, session, wishes)
    } catch (thrown) {
      this.#refuse(thrown)
    }
  }

  /** @returns nothing when the socket has closed meanwhile */
  async #begin(request: UpgradeRequest, wishes: Wishes): Promise<Session | undefined> {
    const { edge, opening, onSessionClosed } = this.deps
    const identity = await authenticate(request, edge)
    const device = deviceOf(request)
    if (this.socket.closed) return undefined
    const session = new Session(identity.user, device, identity, this.socket, onSessionClosed)
    session.wantsGaps = request.query.get('gap') === '1'
    this.#session = session
    const begun = beginSession(opening, session, wishes)
    for (const frame of this.#early ?? []) this.#onFrame(session, frame)
    this.#early = undefined
    await begun
    return session
  }

  #refuse(thrown: unknown): void {
    const error = toAppError(thrown)
    const { log } = this.deps.opening
    if (error.code === 'internal') log.error({ err: error.cause ?? error }, 'opening a session failed')
    const retry = error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }
    const frame = { op: 'error', code: error.code, message: error.message, ...retry }
    if (this.#session) this.#session.tell(frame)
    else this.socket.send(JSON.stringify(frame))
    this.#close(closeCodeOf(error), error.code)
  }

  #onFrame(session: Session, frame: string): void {
    this.#gate ??= new Gate(this.deps.rateLimits)
    const gate = this.#gate
    if (session.closed || !gate.admitsBytes(session, frame.length)) return
    const fault = handleFrame(this.deps.frames, session, frame, (op) => gate.admits(session, op))
    if (fault?.badFrame) gate.bad(session)
  }

  #close(code: number, reason: string): void {
    if (this.#session) this.#session.close(code, reason)
    else this.socket.close(code, reason)
  }

  message(data: string, isBinary: boolean): void {
    if (this.#session) this.#session.lastHeard = performance.now()
    if (isBinary) this.#refuse(new AppError('bad_frame', 'Frames are text.'))
    else if (this.#session) this.#onFrame(this.#session, data)
    else this.#keepEarly(data)
  }

  #keepEarly(frame: string): void {
    this.#early ??= []
    if (this.#early.length < MAX_EARLY_FRAMES) this.#early.push(frame)
    else this.socket.close(Close.TooManyFrames, 'wait for ready')
  }

  pong(): void {
    if (this.#session) this.#session.lastHeard = performance.now()
  }

  drain(): void {
    this.#session?.onDrain()
  }

  close(code: number): void {
    this.#leave?.()
    this.#leave = undefined
    this.#session?.onSocketClosed(code)
    flushLate()
  }
}
