/** The socket of a session that is polled: it keeps frames until somebody asks, and the last answer until it is acknowledged. */
import type { SendResult, Socket } from './transport.js'

/** What one answer takes at most. */
const MOST_FRAMES = 500
const MOST_BYTES = 256 * 1024
/**
 * Its `ack` names its conversations again, in base64, in the line of a request that has room for a token beside it: uWebSockets.js cuts off
 * who sends more than 4 KiB before the body in more than one piece.
 */
const MOST_NAME_BYTES = 1_200
/** What stands with a name: quotes, a colon, a comma and a seq. */
const POSITION_BYTES = 16
/** Frames that come together are answered together. */
const GATHER_MS = 5

/** Frames that say something of the connection: a poll is answered when there is something else. */
const OF_SOCKETS = /^\{"op":"(?:ready|synced)"/

/** What a poll is answered with. */
export interface Polled {
  frames: readonly string[]
  /** More is there, or is just being read. */
  more: boolean
}

export class PollSocket implements Socket {
  closed = false
  /** Close code, once it has one. */
  code: number | undefined
  /** The backlog is being read: it ends soon, and more comes until then. */
  opening = true
  #queue: string[] = []
  #bytes = 0
  /** What the last answer held: it may have been lost on its way. */
  #answered: string[] = []
  #wake: (() => void) | undefined

  /**
   * @param patienceMs between two polls nothing is taken: as long as a session may be silent
   * @param maxBufferedBytes most that may wait for a poll; the frame that does not fit is dropped, which ends the session
   * @param onDrain told when there is room again
   * @param onClosed told once
   */
  constructor(
    readonly patienceMs: number,
    private readonly maxBufferedBytes: number,
    private readonly onDrain: () => void,
    private readonly onClosed: () => void,
  ) {}

  send(frame: string | Uint8Array): SendResult {
    if (this.closed || this.#bytes > this.maxBufferedBytes) return 'dropped'
    const text = typeof frame === 'string' ? frame : Buffer.from(frame).toString()
    if (OF_SOCKETS.test(text)) return 'sent'
    this.#queue.push(text)
    this.#bytes += frame.length
    this.#wake?.()
    return 'buffered'
  }

  sendAll(frames: readonly (string | Uint8Array)[]): SendResult {
    for (const frame of frames) if (this.send(frame) === 'dropped') return 'dropped'
    return 'buffered'
  }

  ping(): void {}

  buffered(): number {
    return this.#bytes
  }

  close(code: number): void {
    if (this.closed) return
    this.closed = true
    this.code = code
    this.#wake?.()
    this.onClosed()
  }

  /** The last answer has arrived. */
  confirm(): void {
    this.#answered = []
  }

  /** Is somebody waiting for an answer? An earlier one is answered at once, with nothing. */
  interrupt(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  /**
   * What is there, or comes in time. What the last answer held comes again unless it was confirmed.
   * @param gone the client does not wait any more: everything stays for the next poll
   */
  async take(timeoutMs: number, gone: AbortSignal): Promise<Polled> {
    if (this.#queue.length + this.#answered.length === 0) await this.#change(timeoutMs, gone)
    // A backlog comes in pages, a burst in turns.
    if (this.#queue.length > 0 && this.#queue.length < MOST_FRAMES)
      await new Promise((resolve) => setTimeout(resolve, GATHER_MS))
    if (gone.aborted) return { frames: [], more: true }
    const frames = this.#answered
    let bytes = 0
    let taken = 0
    const names = new Names(frames)
    while (taken < this.#queue.length && frames.length + taken < MOST_FRAMES && bytes < MOST_BYTES) {
      const frame = this.#queue[taken]!
      if (!names.admit(frame)) break
      bytes += Buffer.byteLength(frame)
      taken++
    }
    frames.push(...this.#queue.splice(0, taken))
    this.#bytes = Math.max(0, this.#queue.length === 0 ? 0 : this.#bytes - bytes)
    if (taken > 0) this.onDrain()
    return { frames: [...frames], more: this.#queue.length > 0 || (this.opening && !this.closed) }
  }

  #change(timeoutMs: number, gone: AbortSignal): Promise<void> {
    if (this.closed || gone.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        gone.removeEventListener('abort', done)
        if (this.#wake === done) this.#wake = undefined
        resolve()
      }
      const timer = setTimeout(done, timeoutMs)
      gone.addEventListener('abort', done)
      this.#wake = done
    })
  }
}

/** The conversations that an answer tells of. */
class Names {
  readonly #known = new Set<string>()
  #bytes = 0

  /** @param frames that are in it anyway */
  constructor(frames: readonly string[]) {
    for (const frame of frames) this.#add(nameIn(frame))
  }

  /** May this frame be in it, too? The first always may. */
  admit(frame: string): boolean {
    const name = nameIn(frame)
    const more = this.#known.has(name) ? 0 : name.length + POSITION_BYTES
    if (this.#bytes > 0 && this.#bytes + more > MOST_NAME_BYTES) return false
    this.#add(name)
    return true
  }

  #add(name: string): void {
    if (name === '' || this.#known.has(name)) return
    this.#known.add(name)
    this.#bytes += name.length + POSITION_BYTES
  }
}

/** '' for a frame that tells of no conversation. In one that does, its name stands before anything that a user has written. */
const nameIn = (frame: string): string => /"conversation":"([^"]*)"/.exec(frame)?.[1] ?? ''
