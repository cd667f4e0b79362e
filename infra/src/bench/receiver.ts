/** A device that listens: it passes on every message it is shown and acknowledges now and then what it has. */
import { Failure } from '../failure.js'
import { BareSocket } from './bare-socket.js'

const OPEN_MS = 30_000

/** A message as far as it is looked at. */
export interface ShownMessage {
  conversation: string
  seq: number
  content: { i: number }
}

/** What a send is answered with. */
export interface AnswerFrame {
  op: 'sent' | 'error'
  clientId?: string
  conversation?: string
  seq?: number
  duplicate?: boolean
  message?: string
}

export interface ReceiverEvents {
  /** @param frame the very text that came */
  message(message: ShownMessage, frame: string): void
  /** A frame that has no place in a bench, or a close that nobody asked for. */
  unexpected(what: string): void
  /** For those who send: the answer to a send. */
  answer?(frame: AnswerFrame): void
}

export interface ReceiverOptions {
  /** Source address of the connection. */
  localAddress?: string | undefined
  /** How long the backlog may take. */
  openMs?: number
  /** Acknowledges by itself this often; else only when told. */
  ackEveryMs?: number
}

interface MessageFrame {
  op: 'message'
  message: ShownMessage
}
type ServerFrame = MessageFrame | AnswerFrame | { op: 'ready' | 'synced' | 'stored' | 'receipt' | 'gap' }

/** One WebSocket that is through its backlog. */
export class Receiver {
  /** Conversation to the newest seq that is not acknowledged yet. */
  readonly #owed = new Map<string, number>()
  readonly #socket: BareSocket
  #closing = false
  #acks: NodeJS.Timeout | undefined
  #whenSynced: (() => void) | undefined

  private constructor(
    url: string,
    token: string,
    private readonly events: ReceiverEvents,
    localAddress: string | undefined,
    closed: (why: string) => void,
  ) {
    this.#socket = new BareSocket(url, token, { text: (frame) => this.#read(frame), closed }, localAddress)
  }

  /** Connects as the user of the token. Resolves when the backlog is through. */
  static open(url: string, token: string, events: ReceiverEvents, options: ReceiverOptions = {}): Promise<Receiver> {
    const { localAddress, openMs = OPEN_MS, ackEveryMs } = options
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        receiver.close()
        closed('not ready in time')
      }, openMs)
      const closed = (why: string): void => {
        clearTimeout(timer)
        clearInterval(acks)
        reject(new Failure(`A WebSocket did not open: ${why}.`))
        if (!receiver.#closing) events.unexpected(`a socket was closed: ${why}`)
      }
      const receiver = new Receiver(url, token, events, localAddress, closed)
      const acks = ackEveryMs === undefined ? undefined : setInterval(() => receiver.acknowledge(), ackEveryMs)
      receiver.#acks = acks
      receiver.#whenSynced = () => {
        clearTimeout(timer)
        resolve(receiver)
      }
    })
  }

  /** Acknowledges everything shown since the last call: one frame a conversation. */
  acknowledge(): void {
    if (this.#owed.size === 0) return
    for (const [conversation, seq] of this.#owed)
      this.#socket.send(`{"op":"ack","conversation":"${conversation}","seq":${seq}}`)
    this.#owed.clear()
  }

  /** Sends a frame. */
  say(frame: string): void {
    this.#socket.send(frame)
  }

  close(): void {
    this.#closing = true
    clearInterval(this.#acks)
    this.#socket.terminate()
  }

  #read(text: string): void {
    const frame = JSON.parse(text) as ServerFrame
    const { answer } = this.events
    switch (frame.op) {
      case 'message':
        this.#owed.set(frame.message.conversation, frame.message.seq)
        this.events.message(frame.message, text)
        break
      case 'synced':
        this.#whenSynced?.()
        break
      case 'ready':
      // How far the other one has got.
      case 'receipt':
        break
      case 'sent':
      case 'error':
        if (answer) answer(frame)
        else this.events.unexpected(`a frame ${text.slice(0, 200)}`)
        break
      default:
        // Who sends is told what is stored.
        if (!answer || frame.op !== 'stored') this.events.unexpected(`a frame ${text.slice(0, 200)}`)
    }
  }
}
