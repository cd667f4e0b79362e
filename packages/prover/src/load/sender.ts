/** A sender as a good client has it: one message (or batch) after the other, each repeated with its clientId until it is answered. */
import type { History } from '../history.js'
import type { Chance } from './chance.js'
import type { Device } from './device.js'
import { sendBatch, sendOne } from './http.js'
import { type Message, type Outcome, recordSend } from './message.js'
import { isAnswered, Rounds } from './rounds.js'
import type { Target } from './target.js'

export type Way = 'http' | 'batch' | 'socket'
const MOST_IN_BATCH = 6

/** An accepted message, until it is known to be stored. */
export interface Kept {
  message: Message
  id: string
  seq: number
  /** The device whose socket it went over, and which knows how long to keep it. What went over HTTP is kept for ever: no receipt tells. */
  over?: Device | undefined
}

export interface SenderOptions {
  name: string
  way: Way
  target: Target
  history: History
  chance: Chance
  /** For the way `socket`. */
  device: Device | undefined
  /** The next message. */
  make(clientId: string): Message
  /** Milliseconds between two messages, on average. */
  everyMs: number
}

/** What every sender counts. */
export interface Counts {
  ok: number
  unknown: number
  refused: number
}

export class Sender {
  readonly accepted: Kept[] = []
  readonly counts: Counts = { ok: 0, unknown: 0, refused: 0 }
  #made = 0
  readonly #rounds: Rounds

  constructor(private readonly options: SenderOptions) {
    this.#rounds = new Rounds(options.chance)
  }

  start(): void {
    const { chance, way, everyMs } = this.options
    const most = way === 'batch' ? MOST_IN_BATCH : 1
    this.#rounds.start((everyMs * (1 + most)) / 2, () =>
      this.deliver(Array.from({ length: chance.between(1, most) }, () => this.options.make(this.nextClientId()))),
    )
  }

  /** Makes no more; resolves when all that was made is answered, or the time is up. */
  finish(withinMs: number): Promise<void> {
    return this.#rounds.finish(withinMs)
  }

  nextClientId(): string {
    return `${this.options.name}-${++this.#made}`
  }

  /** Sends until each is answered for good, or the sender has given up. @param api which one; all in turn when left out */
  async deliver(messages: readonly Message[], api?: number): Promise<void> {
    let open = [...messages]
    await this.#rounds.untilAnswered(async (attempt) => {
      for (const message of open) this.#record(message)
      const outcomes = await this.#attempt(open, api ?? this.#made + attempt)
      open = open.filter((message, i) => !this.#settled(message, outcomes[i]!))
      return open.length === 0
    })
  }

  async #attempt(messages: readonly Message[], api: number): Promise<Outcome[]> {
    const { way, target, device } = this.options
    const token = target.token(messages[0]!.from)
    const base = target.apis[api % target.apis.length]!
    if (way === 'batch') return sendBatch(base, token, messages)
    if (way === 'socket' && device) return [await device.send(messages[0]!)]
    return [await sendOne(base, token, messages[0]!)]
  }

  /** @returns whether nothing more is to be done for it */
  #settled(message: Message, outcome: Outcome): boolean {
    this.#record(message, outcome)
    if (outcome.type === 'ok') {
      this.counts.ok++
      const { way, device } = this.options
      this.accepted.push({ message, id: outcome.id, seq: outcome.seq, over: way === 'socket' ? device : undefined })
      return true
    }
    if (outcome.type === 'info') this.counts.unknown++
    else this.counts.refused++
    return isAnswered(outcome)
  }

  #record(message: Message, outcome?: Outcome): void {
    recordSend(this.options.history, this.options.name, message, outcome)
  }
}
