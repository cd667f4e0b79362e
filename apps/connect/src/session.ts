/** One live connection of one device. */
import { randomBytes } from 'node:crypto'
import type { Identity } from '@tidings/accept'
import { Close } from '@tidings/protocol'
import { Flow, type Frame } from './sequencer.js'
import type { Socket } from './transport.js'

/** Above this many waiting bytes a session takes no more pushes: it reads the log, at the reader's pace. */
const PACE_BYTES = 64 * 1024
/** A reader that takes nothing at all for this long, while bytes wait for it, is too slow. */
const STUCK_MS = 5_000

export type SessionState = 'opening' | 'open' | 'closed'

export class Session {
  readonly id = randomBytes(12).toString('base64url')
  state: SessionState = 'opening'
  /** performance.now() of the last sign of life. */
  lastHeard = performance.now()
  /** The newest backlog pages are wanted first; the rest is told as gaps (`?gap=1`). */
  wantsGaps = false
  /** Waiting for the client's own cursors (`?resume=client`). */
  resuming: { done(): void } | undefined
  /** conversation to its flow, or to its position alone as long as nothing happens in it */
  readonly #flows = new Map<string, Flow | number>()
  /** Conversations with a gap that was not paged yet. */
  readonly #gaps = new Map<string, { limit: number; end: number }>()
  /** What was pushed while the session opened, conversation to highest seq: its positions may be older than that. */
  #hints: Map<string, number> | undefined = new Map()
  #outbox: Frame[] = []
  #outboxBytes = 0
  #drained: (() => void)[] = []

  constructor(
    readonly user: string,
    readonly device: string,
    public identity: Identity,
    readonly socket: Socket,
    /** Told once when the session has closed itself, with the code. */
    private readonly onClosed: (session: Session, code: number) => void,
  ) {}

  get closed(): boolean {
    return this.state === 'closed'
  }

  /** The flow of a conversation. One that was not there when the session opened begins at 0. */
  flow(conversation: string): Flow {
    const known = this.#flows.get(conversation)
    if (typeof known === 'object') return known
    const flow = new Flow(known ?? 0)
    this.#flows.set(conversation, flow)
    return flow
  }

  setPosition(conversation: string, position: number): void {
    this.#flows.set(conversation, position)
  }

  /** The client says where it stands. Conversations that are not its own, and the future, are ignored. */
  resumeFrom(conversation: string, cursor: number): void {
    if (!this.#flows.has(conversation)) return
    const flow = this.flow(conversation)
    flow.position = Math.min(cursor, flow.known)
  }

  /** Conversations with more to show than was shown. */
  behind(): string[] {
    const found: string[] = []
    for (const [conversation, flow] of this.#flows) {
      if (typeof flow === 'object' && flow.position < flow.known) found.push(conversation)
    }
    return found
  }

  /** Up to where the session has been shown a conversation; undefined when it has nothing of it. */
  positionOf(conversation: string): number | undefined {
    const known = this.#flows.get(conversation)
    return typeof known === 'object' ? known.position : known
  }

  /** A push came before the session knew where it stands. */
  hint(conversation: string, seq: number): void {
    if (this.#hints) this.#hints.set(conversation, Math.max(seq, this.#hints.get(conversation) ?? 0))
  }

  /** From now on pushes are taken. @returns what was pushed meanwhile */
  open(): ReadonlyMap<string, number> {
    const hints = this.#hints ?? new Map<string, number>()
    this.#hints = undefined
    if (this.state === 'opening') this.state = 'open'
    return hints
  }

  /** A gap was told: up to its end nothing beyond `limit` counts as acknowledged. */
  limitAcks(conversation: string, limit: number, gapEnd: number): void {
    const before = this.#gaps.get(conversation)
    this.#gaps.set(conversation, { limit: before?.limit ?? limit, end: gapEnd })
  }

  /** The client was shown all after `after` up to `to`, on its own request: a gap shrinks from below. */
  filled(conversation: string, after: number, to: number): void {
    const gap = this.#gaps.get(conversation)
    if (!gap || after > gap.limit || to <= gap.limit) return
    if (to >= gap.end) this.#gaps.delete(conversation)
    else gap.limit = to
  }

  /** The seq that an ack may move the cursor to: a cursor covers everything below it. */
  ackable(conversation: string, seq: number): number {
    return Math.min(seq, this.#gaps.get(conversation)?.limit ?? seq)
  }

  /** Puts a frame into the outbox; it leaves with `flush`, together with its neighbours. */
  readonly show = (frame: Frame): void => {
    if (this.state === 'closed') return
    this.#outbox.push(frame)
    this.#outboxBytes += frame.length
    if (this.#outboxBytes >= PACE_BYTES) this.flush()
    else if (this.#outbox.length === 1) queueMicrotask(this.flush)
  }

  /** More waits for the reader than should: nothing is pushed to it now, and nothing is queued for it here. */
  get congested(): boolean {
    return this.socket.buffered() > PACE_BYTES
  }

  /** Sends what is in the outbox. The first frame that does not fit ends the session: its cursor brings it all again. */
  readonly flush = (): void => {
    if (this.#outbox.length === 0) return
    const frames = this.#outbox
    this.#outbox = []
    this.#outboxBytes = 0
    if (this.state === 'closed') return
    const result = frames.length === 1 ? this.socket.send(frames[0]!) : this.socket.sendAll(frames)
    if (result === 'dropped') this.close(Close.TooSlow, 'reading too slowly')
  }

  /** Sends one control frame. */
  tell(frame: object): void {
    this.show(JSON.stringify(frame))
  }

  /** Resolves when the reader keeps pace, or the session has closed. One that is stuck is closed with 4508. */
  async writable(): Promise<void> {
    this.flush()
    while (!this.closed && this.congested) {
      const waiting = this.socket.buffered()
      const stuck = setTimeout(() => {
        if (this.socket.buffered() >= waiting) this.close(Close.TooSlow, 'reading too slowly')
        this.onDrain()
      }, STUCK_MS)
      await new Promise<void>((resolve) => this.#drained.push(resolve))
      clearTimeout(stuck)
    }
  }

  onDrain(): void {
    const waiting = this.#drained
    this.#drained = []
    for (const resolve of waiting) resolve()
  }

  /** Ends the session from this side. */
  close(code: number, reason: string): void {
    if (this.state === 'closed') return
    if (code !== Close.TooSlow) this.flush()
    this.#end(code)
    this.socket.close(code, reason)
  }

  /** The socket is gone. */
  onSocketClosed(code: number): void {
    this.#end(code)
  }

  #end(code: number): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.#outbox = []
    this.onDrain()
    this.onClosed(this, code)
  }
}
