/** The people of a suite: a handful who send over HTTP, and a hundred who listen on a WebSocket each. */
import { mintToken } from '../tokens.js'
import { type Bystanders, seatBystanders } from './bystanders.js'
import { Checker, contentOf } from './checker.js'
import { nowUs } from './clock.js'
import { headOf, type Line, type Reply } from './line.js'
import { type Order, TOKEN_LIFE_S } from './order.js'
import { Receiver, type ShownMessage } from './receiver.js'
import { LatencyRecorder } from './statistics.js'

/** Every receiver acknowledges this often. They take turns, so that no burst of acks disturbs the messages. */
const ACK_EVERY_MS = 200
const ACK_TURNS = 10
const OPENING_AT_ONCE = 16

interface Sender {
  name: string
  singleHead: string
  batchHead: string
}

/** People of two crowds on one instance have different names. */
const crowdName = ({ point, suite }: Order): string => point?.crowd ?? suite

/** How a sender is called: conversations begin with it. */
export const senderName = (suite: string, i: number): string => `${suite}-s${i}`

/** Everyone connected, nothing sent yet. */
export class Crowd {
  readonly checker = new Checker()
  /** What senders who listen are shown of their own; a message has the same number here. */
  readonly #echoes = new Checker()
  readonly latency = new LatencyRecorder()
  readonly #meantUs: number[] = []
  readonly #senders: Sender[]
  readonly #receivers: (Receiver | undefined)[] = []
  #bystanders: Bystanders | undefined
  readonly #names: string[]
  readonly #acks: NodeJS.Timeout
  #next = 0
  #left = false

  private constructor(private readonly order: Order) {
    const { scale, api, jwtSecret } = order
    const suite = crowdName(order)
    const host = `${api.host}:${api.port}`
    this.#names = Array.from({ length: scale.receivers }, (_, i) => `${suite}-r${i}`)
    this.#senders = Array.from({ length: scale.senders }, (_, i) => {
      const name = senderName(suite, i)
      const token = mintToken(jwtSecret, name, TOKEN_LIFE_S)
      return {
        name,
        singleHead: headOf('POST', '/api/v1/messages', host, token),
        batchHead: headOf('POST', '/api/v1/messages/batch', host, token),
      }
    })
    let turn = 0
    this.#acks = setInterval(() => {
      for (let i = turn; i < this.#receivers.length; i += ACK_TURNS) this.#receivers[i]?.acknowledge()
      turn = (turn + 1) % ACK_TURNS
    }, ACK_EVERY_MS / ACK_TURNS)
  }

  /** Connects the receivers; that makes them users, so that they can be written to. */
  static async gather(order: Order): Promise<Crowd> {
    const crowd = new Crowd(order)
    try {
      const { websockets } = order
      let next = 0
      const open = async (): Promise<void> => {
        for (let i = next++; i < crowd.#names.length; i = next++) {
          const receiver = await Receiver.open(
            websockets[i % websockets.length]!,
            mintToken(order.jwtSecret, crowd.#names[i]!, TOKEN_LIFE_S),
            {
              message: (message, frame) => crowd.#shown(i, message, frame),
              unexpected: (what) => crowd.checker.fault(`receiver ${i}: ${what}`),
            },
          )
          crowd.#receivers[i] = receiver
          if (crowd.#left) receiver.close()
        }
      }
      await Promise.all(Array.from({ length: OPENING_AT_ONCE }, open))
      crowd.#bystanders = await seatBystanders(order, crowdName(order), (what) => crowd.checker.fault(what))
    } catch (error) {
      crowd.leave()
      throw error
    }
    return crowd
  }

  /** What the ids of this crowd's conversations begin with. */
  get prefix(): string {
    return `dm:${crowdName(this.order)}-`
  }

  /** Sends the next message alone. @param meantUs when it was meant to go out */
  async sendOne(line: Line, meantUs = nowUs()): Promise<void> {
    const { sender, receiver } = this.#pair()
    const index = this.#note(sender, receiver, meantUs)
    const reply = await line.call(sender.singleHead, this.#messageOf(receiver, index))
    if (reply.status === 202) this.#accept(index, JSON.parse(reply.body) as Answer)
    else this.#refused(reply)
  }

  /** Sends the next message where a refusal is an answer too. @returns its code, or nothing when the message was accepted */
  async tryOne(line: Line, meantUs = nowUs()): Promise<string | undefined> {
    const { sender, receiver } = this.#pair()
    const index = this.#note(sender, receiver, meantUs)
    const reply = await line.call(sender.singleHead, this.#messageOf(receiver, index))
    if (reply.status === 202) {
      this.#accept(index, JSON.parse(reply.body) as Answer)
      return undefined
    }
    const { code, retryAfter } = reply.status === 503 ? (JSON.parse(reply.body) as Refusal) : {}
    if (code === undefined || !retryAfter) this.#refused(reply)
    else if (code !== 'outcome_unknown') this.checker.refuse(index)
    return code ?? String(reply.status)
  }

  /** Sends the next `count` messages in one call of one sender, each to another receiver. */
  async sendBatch(line: Line, count: number): Promise<void> {
    const { sender } = this.#pair()
    const first = this.#next - 1
    const meantUs = nowUs()
    const indexes: number[] = []
    const messages: string[] = []
    for (let i = 0; i < count; i++) {
      const receiver = (first + i) % this.#names.length
      const index = this.#note(sender, receiver, meantUs)
      indexes.push(index)
      messages.push(this.#messageOf(receiver, index))
    }
    const reply = await line.call(sender.batchHead, `{"messages":[${messages.join(',')}]}`)
    if (reply.status !== 202) return this.#refused(reply)
    const { results } = JSON.parse(reply.body) as { results: Answer[] }
    if (results.length !== count) this.checker.fault(`a batch of ${count} was answered with ${results.length} results`)
    for (const [i, answer] of results.entries()) {
      if (answer.seq === undefined) this.checker.fault(`an item of a batch was refused: ${JSON.stringify(answer)}`)
      else this.#accept(indexes[i]!, answer)
    }
  }

  /** Notes a message that a sender is about to send by other means than a line. */
  announce(sender: number): { index: number; to: string } {
    const receiver = this.#next++ % this.#names.length
    const index = this.#note(this.#senders[sender]!, receiver, nowUs())
    this.#echoes.send(sender, this.#conversationOf(this.#senders[sender]!, receiver))
    return { index, to: this.#names[receiver]! }
  }

  /** An announced message was accepted. */
  accepted(index: number, answer: Answer): void {
    this.#accept(index, answer)
    this.#echoes.accept(index, answer.conversation!, answer.seq!)
  }

  /** A sender was shown a message of theirs. */
  echo(sender: number, { conversation, seq, content }: ShownMessage, frame: string): void {
    this.#checkContent(content.i, frame)
    this.#echoes.arrive({ receiver: sender, conversation, seq, index: content.i })
  }

  /** Has everything that was accepted arrived at everyone? */
  get complete(): boolean {
    return this.checker.complete && this.#echoes.complete
  }

  /** How much has arrived. */
  get arrived(): number {
    return this.checker.arrived + this.#echoes.arrived
  }

  /** Everything that was wrong so far. */
  faults(): string[] {
    return [...this.checker.faults(), ...this.#echoes.faults().map((fault) => `shown to its sender: ${fault}`)]
  }

  /** Resolves when the checker knows of everything that a bystander heard. */
  async bystandersAsked(): Promise<void> {
    await this.#bystanders?.asked()
  }

  leave(): void {
    this.#left = true
    clearInterval(this.#acks)
    // Some may never have been opened.
    for (const receiver of this.#receivers) receiver?.close()
    this.#bystanders?.leave()
  }

  /** Every message goes to another receiver, and the senders take turns as well. */
  #pair(): { sender: Sender; receiver: number } {
    const n = this.#next++
    return { sender: this.#senders[n % this.#senders.length]!, receiver: n % this.#names.length }
  }

  #note(sender: Sender, receiver: number, meantUs: number): number {
    this.#meantUs.push(meantUs)
    return this.checker.send(receiver, this.#conversationOf(sender, receiver))
  }

  #conversationOf(sender: Sender, receiver: number): string {
    return `dm:${[sender.name, this.#names[receiver]!].sort().join(':')}`
  }

  #messageOf(receiver: number, index: number): string {
    return `{"to":{"user":"${this.#names[receiver]}"},"content":${this.#contentOf(index)}}`
  }

  #contentOf(index: number): string {
    return contentOf(index, this.order.scale.contentBytes)
  }

  #accept(index: number, answer: Answer): void {
    this.checker.accept(index, answer.conversation!, answer.seq!)
  }

  #refused({ status, body }: Reply): void {
    this.checker.fault(`refused: ${status} ${body.slice(0, 200)}`)
  }

  #shown(receiver: number, { conversation, seq, content }: ShownMessage, frame: string): void {
    const index = content.i
    const meantUs = this.#meantUs[index]
    if (meantUs !== undefined) this.latency.record(nowUs() - meantUs)
    this.#checkContent(index, frame)
    this.checker.arrive({ receiver, conversation, seq, index })
  }

  #checkContent(index: number, frame: string): void {
    if (!frame.includes(`"content":${this.#contentOf(index)}`))
      this.checker.fault(`changed on its way: ${frame.slice(0, 400)}`)
  }
}

/** The body of a 503. */
interface Refusal {
  code?: string
  retryAfter?: number
}

/** A 202's body, or a problem in its place. */
interface Answer {
  conversation?: string
  seq?: number
}
