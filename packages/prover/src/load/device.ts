/**
 * A device as a good client has it: it comes back after every close, shows an entry once and in order, acknowledges only what it has
 * without a hole, and repeats what was not answered. Everything it is told goes into the history.
 */
import WebSocket from 'ws'
import type { Draft, History } from '../history.js'
import { pause } from '../until.js'
import type { Chance } from './chance.js'
import { Copies } from './copies.js'
import { CANARY, type Message, type Outcome, refusal, statusOf } from './message.js'
import { type ShownEntry, shownOf } from './shown.js'
import type { Target } from './target.js'

const ACK_AFTER_MS = 50
const ANSWER_MS = 5_000
const OPEN_MS = 5_000
/** Silence after which a link is taken for dead: the device asks with `ping` half-way. */
const SILENCE_MS = 6_000
const REPLACED = 4409

export interface DeviceOptions {
  user: string
  name: string
  target: Target
  history: Pick<History, 'record'>
  chance: Chance
  /** Canary to the conversation it belongs to. */
  canaries: ReadonlyMap<string, string>
  /** Conversations that this user may see. */
  mine: ReadonlySet<string>
  /** A device that never was there before begins where the server says, not at 1. */
  begins: 'first' | 'later'
  /** Asks for everything there is, however much was acknowledged. */
  fromOldest?: boolean
  /** Names its own cursors on each connection. */
  resumes?: boolean
  /** Goes away now and then, for so many milliseconds. */
  leaves?: { afterMs: number; forMs: number }
  /** A second copy of a message, after a lost tail, is known and not shown. */
  tailLost?: boolean
}

interface Frame {
  op: string
  [name: string]: unknown
}

interface EntryFrame extends ShownEntry {
  id: string
  conversation: string
  seq: number
  from: string
  clientId?: string
}

export class Device {
  readonly proc: string
  /** Conversation to the seq up to which everything is here. */
  readonly #position = new Map<string, number>()
  readonly #shown = new Map<string, Map<number, string>>()
  /** `<from> <clientId>` of what was shown. */
  readonly #messages = new Set<string>()
  readonly #owed = new Set<string>()
  readonly #waiting = new Map<string, (outcome: Outcome) => void>()
  readonly #copies = new Copies()
  #socket: WebSocket | undefined
  #synced = false
  #stopped = false
  #staying = false
  #node: number
  #ackTimer: NodeJS.Timeout | undefined
  #comeBackMs = 0
  #wake: (() => void) | undefined
  readonly #running: Promise<void>
  /** Close codes so far. */
  readonly closes: number[] = []

  constructor(readonly options: DeviceOptions) {
    this.proc = `${options.user}/${options.name}`
    this.#node = options.chance.between(0, options.target.nodes.length - 1)
    this.#running = this.#live()
  }

  get live(): boolean {
    return this.#synced && this.#socket?.readyState === WebSocket.OPEN
  }

  /** Everything of the conversation up to this seq is here. */
  reached(conv: string): number {
    return this.#position.get(conv) ?? 0
  }

  /** Has it shown this message? */
  has(from: string, clientId: string): boolean {
    return this.#messages.has(`${from} ${clientId}`)
  }

  /** Has it a copy still of what it sent itself and was given this seq? */
  keeps(conv: string, seq: number): boolean {
    return this.#copies.has(conv, seq)
  }

  /** From now on it stays connected. */
  stay(): void {
    this.#staying = true
  }

  /** Drops its connection, as a lost network does; it comes back by itself. */
  drop(): void {
    this.#socket?.terminate()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake?.()
    this.#socket?.terminate()
    await this.#running
  }

  /** Sends over its socket. An answer that does not come is unknown, and the link is given up. */
  send(message: Message): Promise<Outcome> {
    const socket = this.#socket
    if (!this.live || !socket) return pause(100).then(() => ({ type: 'info', code: 'not connected' }))
    const { to, content, clientId } = message
    socket.send(`{"op":"send","to":{"user":${JSON.stringify(to)}},"content":${content},"clientId":"${clientId}"}`)
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(clientId)
        socket.terminate()
        resolve({ type: 'info', code: 'no answer' })
      }, ANSWER_MS)
      this.#waiting.set(clientId, (outcome) => {
        clearTimeout(timer)
        this.#waiting.delete(clientId)
        if (outcome.type === 'ok') this.#copies.accepted(message.conv, outcome.seq)
        resolve(outcome)
      })
    })
  }

  /** A frame as it is, for probing. */
  tell(frame: object): void {
    if (this.live) this.#socket!.send(JSON.stringify(frame))
  }

  async #live(): Promise<void> {
    const { chance, target } = this.options
    for (let failures = 0; !this.#stopped; ) {
      this.#comeBackMs = 0
      const opened = await this.#connectOnce(target.nodes[this.#node % target.nodes.length]!)
      failures = opened ? 0 : failures + 1
      this.#node++
      if (this.#stopped) return
      const most = Math.min(200 * 2 ** failures, 1_500)
      await this.#sleep(Math.max(this.#comeBackMs, chance.between(50, most)))
    }
  }

  async #sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }

  /** One connection, from its opening to its end. @returns whether it came as far as `ready` */
  async #connectOnce(node: string): Promise<boolean> {
    const { user, name, target, resumes, fromOldest, leaves } = this.options
    const wishes = `${resumes ? '&resume=client' : ''}${fromOldest ? '&from=oldest' : ''}`
    const url = `${node}/api/v1/ws?device=${name}${wishes}`
    const socket = new WebSocket(url, {
      headers: { authorization: `Bearer ${target.token(user)}` },
      handshakeTimeout: OPEN_MS,
      perMessageDeflate: false,
    })
    this.#socket = socket
    let ready = false
    let heardAt = performance.now()
    const timers: NodeJS.Timeout[] = []
    const watch = setInterval(() => {
      const silence = performance.now() - heardAt
      if (silence > SILENCE_MS) socket.terminate()
      else if (silence > SILENCE_MS / 2 && socket.readyState === WebSocket.OPEN) socket.send('{"op":"ping"}')
    }, 500)
    timers.push(watch)
    socket.on('open', () => {
      if (leaves && !this.#staying)
        timers.push(
          setTimeout(() => {
            if (this.#staying) return
            this.#comeBackMs = leaves.forMs
            socket.terminate()
          }, leaves.afterMs),
        )
    })
    socket.on('message', (data) => {
      heardAt = performance.now()
      const text = data.toString()
      const frame = JSON.parse(text) as Frame
      if (frame.op === 'ready') {
        ready = true
        if (resumes) this.#resume(socket)
      }
      this.#take(frame, text, socket)
    })
    socket.on('error', () => undefined)
    const code = await new Promise<number>((resolve) => socket.once('close', resolve))
    for (const timer of timers) clearTimeout(timer)
    this.#synced = false
    this.#copies.cut()
    this.closes.push(code)
    this.#record({ type: 'info', f: 'close', detail: String(code) })
    for (const resolve of [...this.#waiting.values()]) resolve({ type: 'info', code: `closed ${code}` })
    // The other one of the same name is about to be done with.
    if (code === REPLACED) this.#comeBackMs = 500
    return ready
  }

  #resume(socket: WebSocket): void {
    const cursors = Object.fromEntries(this.#position)
    socket.send(JSON.stringify({ op: 'resume', cursors, done: true }))
  }

  #take(frame: Frame, text: string, socket: WebSocket): void {
    this.#lookForCanaries(text)
    switch (frame.op) {
      case 'message':
        this.#show(frame.message as EntryFrame)
        break
      case 'ready':
        this.#record({ type: 'ok', f: 'ready' })
        break
      case 'synced':
        if (frame.conversation === undefined) this.#synced = true
        break
      case 'sent':
        this.#waiting.get(String(frame.clientId))?.({
          type: 'ok',
          id: String(frame.id),
          seq: Number(frame.seq),
          duplicate: frame.duplicate === true,
        })
        break
      case 'error':
        if (frame.clientId !== undefined)
          this.#waiting.get(String(frame.clientId))?.(refusal(statusOf(String(frame.code)), String(frame.code)))
        break
      case 'stored':
        this.#copies.stored(String(frame.conversation), Number(frame.upTo))
        this.#record({ type: 'ok', f: 'stored', conv: String(frame.conversation), seq: Number(frame.upTo) })
        break
      case 'void': {
        const { conversation, from, to } = frame as unknown as { conversation: string; from: number; to: number }
        this.#record({ type: 'ok', f: 'void', conv: conversation, range: [from, to] })
        this.#copies.forgotten(conversation, from, to)
        if (from <= this.#start(conversation, from) + 1) this.#advance(conversation, to)
        break
      }
      case 'gap': {
        // Entries that cannot be had now. Going on would show them out of order later: come back instead.
        const { conversation, from, to } = frame as unknown as { conversation: string; from: number; to: number }
        this.#record({ type: 'info', f: 'gap', conv: conversation, range: [from, to] })
        socket.removeAllListeners('message')
        socket.terminate()
        break
      }
      case 'reconnect':
        this.#comeBackMs = Number(frame.after)
        break
    }
  }

  #show(entry: EntryFrame): void {
    const { id, conversation: conv, seq, from, clientId = '' } = entry
    const draft = { conv, seq, id, from, clientId, ...shownOf(entry) } as const
    this.#record({ type: 'ok', f: 'recv', ...draft })
    if (!this.options.mine.has(conv)) return
    let shown = this.#shown.get(conv)
    if (!shown) {
      shown = new Map()
      this.#shown.set(conv, shown)
    }
    const position = this.#start(conv, seq)
    if (seq > position && !shown.has(seq)) {
      shown.set(seq, id)
      // What has expired does not tell its sender's key any more.
      const key = `${from} ${clientId || id}`
      if (this.options.tailLost && this.#messages.has(key))
        this.#record({ type: 'ok', f: 'void', conv, range: [seq, seq] })
      else this.#record({ type: 'ok', f: 'app', ...draft })
      this.#messages.add(key)
    }
    this.#advance(conv, position)
    this.#owed.add(conv)
    this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ACK_AFTER_MS)
  }

  /** Where the device stands; one that came later begins at what it is told first. */
  #start(conv: string, seq: number): number {
    let position = this.#position.get(conv)
    if (position === undefined) {
      position = this.options.begins === 'first' ? 0 : seq - 1
      this.#position.set(conv, position)
    }
    return position
  }

  #advance(conv: string, to: number): void {
    const shown = this.#shown.get(conv)
    let position = Math.max(to, this.#position.get(conv) ?? 0)
    while (shown?.has(position + 1)) position++
    this.#position.set(conv, position)
  }

  #acknowledge(): void {
    this.#ackTimer = undefined
    for (const conv of this.#owed) {
      const seq = this.#position.get(conv)
      if (!this.live || seq === undefined || seq === 0) continue
      this.#record({ type: 'ok', f: 'ack', conv, seq })
      this.#socket!.send(JSON.stringify({ op: 'ack', conversation: conv, seq }))
    }
    this.#owed.clear()
  }

  #lookForCanaries(text: string): void {
    for (const [canary] of text.matchAll(CANARY)) {
      const conv = this.options.canaries.get(canary)
      if (conv !== undefined && !this.options.mine.has(conv))
        this.#record({ type: 'fail', f: 'canary', conv, detail: 'in a frame' })
    }
  }

  #record(draft: Omit<Draft, 'proc' | 'user'>): void {
    this.options.history.record({ ...draft, proc: this.proc, user: this.options.user })
  }
}
