/** A device of the storm: it is torn off and comes back, and what was written meanwhile must be shown to it, once and in order. */

import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../failure.js'
import { mintToken } from '../tokens.js'
import { contentOf } from './checker.js'
import { TOKEN_LIFE_S } from './order.js'
import { Receiver, type ReceiverEvents, type ShownMessage } from './receiver.js'
import type { Turns } from './turns.js'

/** What a client waits before it tries again, at most. */
const FIRST_RETRY_MS = 1_000
const MOST_RETRY_MS = 10_000
const OPEN_TRIES = 5

/** How an attempt ends that is refused: an `error` frame that says why, and a close. */
const REFUSAL = /^a socket was closed|^a frame \{"op":"error"/

/** How a device is called. */
export const awayName = (i: number): string => `away-${i}`
/** Entries that are written to each device while it is away. */
export const PER_DEVICE = 2
/** The numbers in the contents of a device's entries, in their order. */
export const indexOf = (device: number, n: number): number => device * PER_DEVICE + n

/** What the devices of a process share when they come back. */
export interface Coming {
  /** Whether it is worth while to go on: a signal with thousands of listeners costs more than what is measured. */
  patience: { over: boolean }
  /** A process can open only so many at once. */
  turns: Turns
}

export class AwayDevice {
  #receiver: Receiver | undefined
  #minted: string | undefined
  #shown = 0
  #whenComplete: (() => void) | undefined
  /** Why attempts failed, in their order. */
  readonly failures: string[] = []
  /** From the first attempt to come back until everything was shown; 0 as long as it was not. */
  backMs = 0

  constructor(
    private readonly i: number,
    private readonly url: string,
    private readonly jwtSecret: string,
    private readonly random: () => number,
    private readonly fault: (what: string) => void,
  ) {}

  /** The first connection: there is nothing to catch up with. Whoever is told to come back later does so a few times. */
  async open(localAddress: string): Promise<void> {
    for (let tries = 1; !this.#receiver; tries++) {
      try {
        this.#receiver = await Receiver.open(this.url, this.#token(), this.#events(), { localAddress })
      } catch (error) {
        if (tries === OPEN_TRIES) throw error
        await sleep(this.random() * FIRST_RETRY_MS)
      }
    }
  }

  /** The connection breaks, without a close frame. */
  drop(): void {
    this.#receiver?.close()
    this.#receiver = undefined
  }

  /**
   * After a delay it tries until it is in, as a client does: after a random part of a time that doubles. Resolves when everything was
   * shown, which may be never. The time that it waits for its turn is counted.
   */
  async return(localAddress: string, delayMs: number, { patience, turns }: Coming): Promise<void> {
    await sleep(delayMs)
    const began = performance.now()
    const complete = new Promise<void>((resolve) => {
      this.#whenComplete = resolve
    })
    for (let waitMs = FIRST_RETRY_MS; !patience.over; waitMs = Math.min(MOST_RETRY_MS, 2 * waitMs)) {
      try {
        this.#receiver = await turns.run(() => Receiver.open(this.url, this.#token(), this.#events(), { localAddress }))
        break
      } catch (error) {
        this.failures.push(reasonOf(error))
        await sleep(this.random() * waitMs)
      }
    }
    await complete
    this.#receiver?.acknowledge()
    this.backMs = performance.now() - began
  }

  /** What it lacks, when all should be there. */
  missing(): string | undefined {
    return this.#shown === PER_DEVICE ? undefined : `device ${this.i} was shown ${this.#shown} of ${PER_DEVICE} entries`
  }

  close(): void {
    this.drop()
  }

  /** A client keeps its token for as long as it holds. */
  #token(): string {
    this.#minted ??= mintToken(this.jwtSecret, awayName(this.i), TOKEN_LIFE_S)
    return this.#minted
  }

  #events(): ReceiverEvents {
    return {
      message: (message, frame) => this.#message(message, frame),
      unexpected: (what) => {
        // A refused attempt is tried again; a session that stood must stay.
        if (this.#receiver || !REFUSAL.test(what)) this.fault(`device ${this.i}: ${what}`)
      },
    }
  }

  #message({ seq, content }: ShownMessage, frame: string): void {
    const index = indexOf(this.i, this.#shown)
    const right = seq === this.#shown + 1 && content.i === index && frame.includes(`"content":${contentOf(index)}`)
    // An attempt that was cut before anything was acknowledged shows the same again.
    if (!right && !(this.failures.length > 0 && seq <= this.#shown))
      this.fault(`device ${this.i}: ${frame.slice(0, 200)}`)
    if (!right) return
    this.#shown++
    if (this.#shown === PER_DEVICE) this.#whenComplete?.()
  }
}
