/** One live connection of one device. */
import { randomBytes } from 'node:crypto'
import type { Identity } from '@tidings/accept'
import { Close } from '@tidings/protocol'
import { flushSoon } from './flush.js'
import type { Frame } from './sequencer.js'
import { Standing } from './standing.js'
import type { SendResult, Socket } from './transport.js'

/** Above this many waiting bytes a session takes no more pushes: it reads the log, at the reader's pace. */
export const PACE_BYTES = 64 * 1024
/** A reader that takes nothing at all for this long, while bytes wait for it, is too slow, unless its socket is more patient. */
const STUCK_MS = 5_000

const ID_BYTES = 12
let random = Buffer.alloc(0)

/** 96 random bits. They are drawn for many at once: asking for them costs more than all else of a new session. */
function newId(): string {
  if (random.length === 0) random = randomBytes(256 * ID_BYTES)
  const id = random.toString('base64url', 0, ID_BYTES)
  random = random.subarray(ID_BYTES)
  return id
}

export class Session extends Standing {
  readonly id = newId()
  /** Milliseconds since 1970. */
  readonly began = Date.now()
  /** performance.now() of the last sign of life. */
  lastHeard = performance.now()
  /** The newest backlog pages are wanted first; the rest is told as gaps (`?gap=1`). */
  wantsGaps = false
  /** Waiting for the client's own cursors (`?resume=client`). */
  resuming: { done(): void } | undefined
  /** Frames that it was shown; at least as many as entries. */
  shownCount = 0
  /** Where sessions.ts has put it. */
  place = 0
  #show: ((frame: Frame) => void) | undefined
  #outbox: Frame[] | undefined
  #outboxBytes = 0
  #drained: (() => void)[] | undefined

  constructor(
    readonly user: string,
    readonly device: string,
    public identity: Identity,
    readonly socket: Socket,
    /** Told once when the session has closed itself, with the code. */
    private readonly onClosed: (session: Session, code: number) => void,
  ) {
    super()
  }

  get closed(): boolean {
    return this.state === 'closed'
  }

  /** Puts a frame into the outbox. Bound to the session, when somebody first needs it so: most sessions rest. */
  get show(): (frame: Frame) => void {
    this.#show ??= (frame) => {
      this.shownCount++
      this.#put(frame)
    }
    return this.#show
  }

  /** The frame leaves with `flush`, together with its neighbours. */
  #put(frame: Frame): void {
    if (this.state === 'closed') return
    if (!this.#outbox) {
      this.#outbox = []
      flushSoon(this)
    }
    this.#outbox.push(frame)
    this.#outboxBytes += frame.length
    if (this.#outboxBytes >= PACE_BYTES) this.flush()
  }

  /** More waits for the reader than should: nothing is pushed to it now, and nothing is queued for it here. */
  get congested(): boolean {
    return this.socket.buffered() > PACE_BYTES
  }

  /** Sends what is in the outbox. */
  flush(): void {
    const frames = this.#outbox
    if (!frames) return
    this.#outbox = undefined
    this.#outboxBytes = 0
    this.#write(frames)
  }

  /** Shows frames at once, behind what is in the outbox. */
  send(frames: readonly Frame[]): SendResult {
    this.shownCount += frames.length
    this.flush()
    return this.#write(frames)
  }

  /** The first frame that does not fit ends the session: its cursor brings it all again. */
  #write(frames: readonly Frame[]): SendResult {
    if (this.state === 'closed') return 'dropped'
    const result = frames.length === 1 ? this.socket.send(frames[0]!) : this.socket.sendAll(frames)
    if (result === 'dropped') this.close(Close.TooSlow, 'reading too slowly')
    return result
  }

  /** Sends one control frame. */
  tell(frame: object): void {
    this.#put(JSON.stringify(frame))
  }

  /** Resolves when the reader keeps pace, or the session has closed. One that is stuck is closed with 4508. */
  async writable(): Promise<void> {
    this.flush()
    while (!this.closed && this.congested) {
      const waiting = this.socket.buffered()
      const stuck = setTimeout(() => {
        if (this.socket.buffered() >= waiting) this.close(Close.TooSlow, 'reading too slowly')
        this.onDrain()
      }, this.socket.patienceMs ?? STUCK_MS)
      await new Promise<void>((resolve) => {
        this.#drained ??= []
        this.#drained.push(resolve)
      })
      clearTimeout(stuck)
    }
  }

  onDrain(): void {
    const waiting = this.#drained
    this.#drained = undefined
    for (const resolve of waiting ?? []) resolve()
  }

  /** Ends the session from this side. */
  close(code: number, reason: string): void {
    if (this.state === 'closed') return
    if (code !== Close.TooSlow) {
      this.fallOut()
      this.flush()
    }
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
    this.#outbox = undefined
    this.onDrain()
    this.onClosed(this, code)
  }
}
