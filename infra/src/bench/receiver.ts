/** A device that listens: it passes on every message it is shown and acknowledges now and then what it has. */
import WebSocket, { type RawData } from 'ws'
import { Failure } from '../failure.js'

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
  #closing = false

  private constructor(
    private readonly socket: WebSocket,
    private readonly events: ReceiverEvents,
  ) {}

  /** Connects as the user of the token. Resolves when the backlog is through. */
  static open(url: string, token: string, events: ReceiverEvents, options: ReceiverOptions = {}): Promise<Receiver> {
    const { localAddress, openMs = OPEN_MS, ackEveryMs } = options
    const socket = new WebSocket(url, {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      skipUTF8Validation: true,
      handshakeTimeout: OPEN_MS,
      ...(localAddress === undefined ? {} : { localAddress }),
    })
    const receiver = new Receiver(socket, events)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail('not ready in time'), openMs)
      const acks = ackEveryMs === undefined ? undefined : setInterval(() => receiver.acknowledge(), ackEveryMs)
      const fail = (why: string): void => {
        clearTimeout(timer)
        reject(new Failure(`A WebSocket did not open: ${why}.`))
        socket.terminate()
      }
      socket.on('error', (error) => fail(error.message))
      socket.on('close', (code, reason) => {
        clearInterval(acks)
        fail(`closed with ${code} ${String(reason)}`)
        if (!receiver.#closing) events.unexpected(`a socket was closed with ${code} ${String(reason)}`)
      })
      socket.on('message', (data) => {
        if (receiver.#read(data) !== 'synced') return
        clearTimeout(timer)
        resolve(receiver)
      })
    })
  }

  /** Acknowledges everything shown since the last call: one frame a conversation. */
  acknowledge(): void {
    if (this.#owed.size === 0) return
    for (const [conversation, seq] of this.#owed)
      this.socket.send(`{"op":"ack","conversation":"${conversation}","seq":${seq}}`)
    this.#owed.clear()
  }

  /** Sends a frame. */
  say(frame: string): void {
    this.socket.send(frame)
  }

  close(): void {
    this.#closing = true
    this.socket.terminate()
  }

  #read(data: RawData): string {
    const text = data.toString()
    const frame = JSON.parse(text) as ServerFrame
    const { answer } = this.events
    switch (frame.op) {
      case 'message':
        this.#owed.set(frame.message.conversation, frame.message.seq)
        this.events.message(frame.message, text)
        break
      case 'ready':
      case 'synced':
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
    return frame.op
  }
}
