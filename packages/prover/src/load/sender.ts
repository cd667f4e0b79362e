/** A sender as a good client has it: one message (or batch) after the other, each repeated with its clientId until it is answered. */
import type { History } from '../history.js'
import { pause } from '../until.js'
import type { Chance } from './chance.js'
import type { Device } from './device.js'
import { sendBatch, sendOne } from './http.js'
import type { Message, Outcome } from './message.js'
import type { Target } from './target.js'

export type Way = 'http' | 'batch' | 'socket'
const MOST_IN_BATCH = 6
const WAIT = { firstMs: 50, mostMs: 1_000 }

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
  #stopping = false
  #givenUp = false
  #running: Promise<void> | undefined

  constructor(private readonly options: SenderOptions) {}

  start(): void {
    this.#running = this.#run()
  }

  /** Makes no more; resolves when all that was made is answered, or the time is up. */
  async finish(withinMs: number): Promise<void> {
    this.#stopping = true
    const timer = setTimeout(() => {
      this.#givenUp = true
    }, withinMs)
    await this.#running
    clearTimeout(timer)
  }

  async #run(): Promise<void> {
    const { chance, way, everyMs } = this.options
    while (!this.#stopping) {
      const count = way === 'batch' ? chance.between(1, MOST_IN_BATCH) : 1
      await this.deliver(Array.from({ length: count }, () => this.options.make(this.nextClientId())))
      await pause(chance.between(0, everyMs * count * 2))
    }
  }

  nextClientId(): string {
    return `${this.options.name}-${++this.#made}`
  }

  /** Sends until each is answered for good, or the sender has given up. @param api which one; all in turn when left out */
  async deliver(messages: readonly Message[], api?: number): Promise<void> {
    let open = [...messages]
    for (let attempt = 0; open.length > 0; attempt++) {
      for (const message of open) this.#record('invoke', message)
      const outcomes = await this.#attempt(open, api ?? this.#made + attempt)
      open = open.filter((message, i) => !this.#settled(message, outcomes[i]!))
      if (open.length === 0 || this.#givenUp) return
      await pause(this.options.chance.between(10, Math.min(WAIT.firstMs * 2 ** attempt, WAIT.mostMs)))
    }
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
    if (outcome.type === 'ok') {
      this.counts.ok++
      const { way, device } = this.options
      this.accepted.push({ message, id: outcome.id, seq: outcome.seq, over: way === 'socket' ? device : undefined })
      this.#record('ok', message, outcome.duplicate ? 'duplicate' : undefined, outcome)
      return true
    }
    this.#record(outcome.type, message, outcome.code)
    if (outcome.type === 'info') this.counts.unknown++
    else this.counts.refused++
    return outcome.type === 'fail' && !outcome.again
  }

  #record(
    type: 'invoke' | Outcome['type'],
    { conv, from, clientId, bodyHash }: Message,
    detail?: string,
    at?: { id: string; seq: number },
  ): void {
    this.options.history.record({
      proc: this.options.name,
      type,
      f: 'send',
      conv,
      from,
      clientId,
      bodyHash,
      ...(at && { id: at.id, seq: at.seq }),
      ...(detail !== undefined && { detail }),
    })
  }
}
