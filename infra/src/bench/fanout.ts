/** One message to everybody in a room: what a delivery costs in a stream of messages, one by one, and now and then. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '../failure.js'
import { mintToken } from '../tokens.js'
import { BareSocket } from './bare-socket.js'
import { contentOf } from './checker.js'
import { nowUs } from './clock.js'
import type { LoadFigures, Run } from './figures.js'
import { headOf, Line } from './line.js'
import { figuresOf, measureStretch } from './measure.js'
import { type Order, TOKEN_LIFE_S } from './order.js'
import { LatencyRecorder } from './statistics.js'
import { countRows, StreamWatch } from './stored.js'

const OPENING_AT_ONCE = 32
/** Members that one call adds. */
const PER_CALL = 200
const LOST_AFTER_MS = 10_000
const ACK_EVERY_MS = 1_000
/** Messages that are under way in the stream. */
const IN_FLIGHT = 16
/** Messages a second, where they come now and then. */
const AT_REST_PER_SECOND = 10
const MESSAGE = '{"op":"message"'
/** In small rooms members are told who has what. */
const UNCOUNTED = ['{"op":"ready"', '{"op":"receipt"']

/** A member with a socket. */
interface Listener {
  socket: BareSocket
  /** The newest seq it was shown. */
  seq: number
}

export interface FanoutOutcome {
  loads: LoadFigures[]
  faults: string[]
}

/** Everything counts by delivery: one message shown to one member. */
export async function fanout(order: Order): Promise<FanoutOutcome> {
  const audience = new Audience(order)
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  const lines: Line[] = []
  try {
    await audience.connect()
    // A connection on which nothing is asked for a minute is closed by the server.
    for (let i = 0; i < IN_FLIGHT; i++) lines.push(await Line.open(order.api.host, order.api.port))
    await audience.gather(lines[0]!)
    await watch.settled()
    const rowsBefore = await countRows(order.mysqlUrl, audience.conversation)
    const { warmUpMs, oneByOneWarmUpMs, runMs, runs } = order.scale
    const name = `fanout to ${order.scale.fanoutMembers}`
    const measured = async (
      what: string,
      warmMs: number,
      load: (ms: number) => Promise<void>,
    ): Promise<LoadFigures> => {
      if (warmMs > 0) await measure(order, audience, watch, () => load(warmMs))
      const done: Run[] = []
      for (let i = 0; i < runs; i++) done.push(await measure(order, audience, watch, () => load(runMs)))
      return figuresOf(`${name}, ${what} (per delivery)`, done)
    }
    const first = lines[0]!
    const loads = [
      await measured('streaming', warmUpMs, (ms) => audience.stream(lines, ms)),
      // Code that runs some fifty times a second is compiled after a minute: until then it costs about a third more.
      await measured('one by one', oneByOneWarmUpMs, (ms) => audience.oneByOne(first, ms, 0)),
      await measured(`${AT_REST_PER_SECOND} a second`, 0, (ms) =>
        audience.oneByOne(first, ms, 1_000 / AT_REST_PER_SECOND),
      ),
    ]
    const rows = (await countRows(order.mysqlUrl, audience.conversation)) - rowsBefore
    const lacking = lackOfRows(rows, audience.accepted)
    return { loads, faults: [...lacking, ...audience.faults.slice(0, 10)] }
  } finally {
    for (const line of lines) line.close()
    watch.close()
    audience.close()
  }
}

/** Each accepted message is a row. */
export const lackOfRows = (rows: number, accepted: number): string[] =>
  rows === accepted ? [] : [`MySQL has ${rows} rows of ${accepted} accepted messages`]

async function measure(order: Order, audience: Audience, watch: StreamWatch, load: () => Promise<void>): Promise<Run> {
  const { sentForUs: _, ...run } = await measureStretch({
    order,
    done: () => audience.delivered,
    load,
    async settled() {
      await audience.allShown()
      await watch.settled()
    },
  })
  return { ...run, latency: audience.latency.take() }
}

/** A room, everybody in it, and one who speaks. */
class Audience {
  readonly latency = new LatencyRecorder()
  readonly faults: string[] = []
  delivered = 0
  accepted = 0
  readonly #listeners: Listener[] = []
  readonly #meantUs: number[] = []
  /** Frames are alike for all: each is looked at once. */
  #lastFrame = ''
  #lastSeen = { seq: 0, index: -1 }
  #room = ''
  #counting = false
  #closing = false
  /** What the names of its people begin with. */
  readonly #name: string
  readonly #owner: string
  readonly #acks: NodeJS.Timeout

  constructor(private readonly order: Order) {
    this.#name = order.point?.crowd ?? 'fanout'
    this.#owner = mintToken(order.jwtSecret, `${this.#name}-owner`, TOKEN_LIFE_S)
    this.#acks = setInterval(() => {
      for (const { socket, seq } of this.#listeners) {
        if (seq > 0) socket.send(`{"op":"ack","conversation":"${this.conversation}","seq":${seq}}`)
      }
    }, ACK_EVERY_MS)
  }

  get conversation(): string {
    return `room:${this.#room}`
  }

  get #names(): string[] {
    return Array.from({ length: this.order.scale.fanoutMembers }, (_, i) => `${this.#name}-${i}`)
  }

  /** Connects the members, who exist from then on. */
  async connect(): Promise<void> {
    const names = this.#names
    let next = 0
    const open = async (): Promise<void> => {
      for (let i = next++; i < names.length; i = next++) this.#listeners.push(await this.#connect(i, names[i]!))
    }
    await Promise.all(Array.from({ length: OPENING_AT_ONCE }, open))
  }

  /** Puts them into a fresh room. */
  async gather(line: Line): Promise<void> {
    const names = this.#names
    const room = await this.#call(line, 'POST', '/api/v1/rooms', '{"name":"fanout"}')
    this.#room = String(room.id)
    for (let at = 0; at < names.length; at += PER_CALL) {
      const users = names.slice(at, at + PER_CALL)
      await this.#call(line, 'POST', `/api/v1/rooms/${this.#room}/members`, JSON.stringify({ users }))
    }
    const { version } = await this.#call(line, 'GET', `/api/v1/rooms/${this.#room}`, undefined)
    await this.#until(() => this.#listeners.every(({ seq }) => seq >= Number(version)))
    this.#counting = true
  }

  /** So many messages under way at any time. */
  async stream(lines: readonly Line[], ms: number): Promise<void> {
    const end = performance.now() + ms
    await Promise.all(
      lines.map(async (line) => {
        while (performance.now() < end) {
          await this.#send(line)
          // The api answers long before all have it: what is under way is bounded by the members.
          await this.#until(
            () => this.accepted * this.#listeners.length - this.delivered <= IN_FLIGHT * this.#listeners.length,
          )
        }
      }),
    )
  }

  /** Each is shown to all before the next is sent. @param everyMs and the next not before */
  async oneByOne(line: Line, ms: number, everyMs: number): Promise<void> {
    for (const end = performance.now() + ms; performance.now() < end; ) {
      const next = performance.now() + everyMs
      await this.#send(line)
      await this.allShown()
      const early = next - performance.now()
      if (early > 0) await sleep(early)
    }
  }

  async allShown(): Promise<void> {
    await this.#until(() => this.delivered >= this.accepted * this.#listeners.length)
    if (this.delivered > this.accepted * this.#listeners.length) this.faults.push('something was shown twice')
  }

  close(): void {
    this.#closing = true
    clearInterval(this.#acks)
    for (const { socket } of this.#listeners) socket.terminate()
  }

  async #send(line: Line): Promise<void> {
    const index = this.#meantUs.push(nowUs()) - 1
    await this.#call(line, 'POST', '/api/v1/messages', `{"to":{"room":"${this.#room}"},"content":${contentOf(index)}}`)
    this.accepted++
  }

  async #call(line: Line, method: string, path: string, json: string | undefined): Promise<Record<string, unknown>> {
    const { host, port } = this.order.api
    const { status, body } = await line.call(headOf(method, path, `${host}:${port}`, this.#owner), json)
    if (status >= 300) throw new Failure(`${method} ${path} was answered with ${status} ${body.slice(0, 200)}`)
    return JSON.parse(body) as Record<string, unknown>
  }

  #connect(i: number, name: string): Promise<Listener> {
    const { websockets, jwtSecret } = this.order
    const token = mintToken(jwtSecret, name, TOKEN_LIFE_S)
    return new Promise((resolve, reject) => {
      const socket = new BareSocket(websockets[i % websockets.length]!, token, {
        text: (frame) => {
          if (frame.startsWith(MESSAGE)) this.#shown(listener, frame)
          else if (frame.startsWith('{"op":"synced"')) resolve(listener)
          else if (!UNCOUNTED.some((op) => frame.startsWith(op))) this.faults.push(`a frame ${frame.slice(0, 200)}`)
        },
        closed: (why) => {
          reject(new Failure(`A WebSocket did not open: ${why}.`))
          if (!this.#closing) this.faults.push(`a socket was closed: ${why}`)
        },
      })
      const listener: Listener = { socket, seq: 0 }
    })
  }

  #shown(listener: Listener, frame: string): void {
    if (frame !== this.#lastFrame) {
      const { message } = JSON.parse(frame) as { message: { seq: number; type: string; content: { i: number } } }
      const index = message.type === 'text' ? message.content.i : -1
      if (index >= 0 && !frame.includes(`"content":${contentOf(index)}`))
        this.faults.push(`changed on its way: ${frame}`)
      this.#lastFrame = frame
      this.#lastSeen = { seq: message.seq, index }
    }
    const { seq, index } = this.#lastSeen
    if (listener.seq !== 0 && seq !== listener.seq + 1) this.faults.push(`misordered: seq ${seq} after ${listener.seq}`)
    listener.seq = seq
    if (!this.#counting || index < 0) return
    this.delivered++
    this.latency.record(nowUs() - this.#meantUs[index]!)
  }

  async #until(check: () => boolean): Promise<void> {
    let { delivered } = this
    for (let since = performance.now(); !check(); ) {
      if (performance.now() - since > LOST_AFTER_MS) {
        this.faults.push(`lost: ${this.accepted * this.#listeners.length - this.delivered} deliveries`)
        return
      }
      await sleep(1)
      if (this.delivered === delivered) continue
      delivered = this.delivered
      since = performance.now()
    }
  }
}
