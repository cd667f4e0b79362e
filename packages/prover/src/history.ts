/** What every client sent, was told and saw, and what the faults did: one line of JSON each, in the order of one monotonic clock. */
import { createHash } from 'node:crypto'
import { createWriteStream, type WriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'

/** `info`: the outcome is not known. */
export type EventType = 'invoke' | 'ok' | 'fail' | 'info'

/**
 * plan: what the run is about · send: an attempt, also of a change or a push · recv: an entry in a frame · app: an entry as a good client shows it · ack, ready,
 * stored, void, gap, close: frames · again: a message that was accepted and is gone is about to be sent again, after everything · page: a page of history · read: an entry of a final read · head: the head that a final read
 * reported · dead: a dead letter · sample: what a process holds · canary: text of a conversation where it has no business · fault: what was done to the cluster
 */
export type What =
  | 'plan'
  | 'send'
  | 'again'
  | 'recv'
  | 'app'
  | 'ack'
  | 'ready'
  | 'stored'
  | 'void'
  | 'gap'
  | 'close'
  | 'page'
  | 'read'
  | 'head'
  | 'dead'
  | 'canary'
  | 'sample'
  | 'fault'

export interface HistoryEvent {
  run: string
  /** Who tells: a sender, `<user>/<device>`, or where a final read came from. */
  proc: string
  /** Milliseconds of the prover's monotonic clock. */
  mono: number
  type: EventType
  f: What
  conv?: string
  clientId?: string
  id?: string
  seq?: number
  bodyHash?: string
  /** The sender of an entry. */
  from?: string
  /** The user on whose behalf `proc` reads. */
  user?: string
  /** An inclusive range, of a void or a gap. */
  range?: [number, number]
  /** Words for people, and what only one kind of event has. */
  detail?: string
  data?: unknown
}

export type Draft = Omit<HistoryEvent, 'run' | 'mono'> & { mono?: number }

export class History {
  readonly events: HistoryEvent[] = []
  readonly #file: WriteStream | undefined

  /** @param path where the lines go; nowhere when left out */
  constructor(
    readonly run: string,
    readonly path?: string,
  ) {
    if (path !== undefined) this.#file = createWriteStream(path, { mode: 0o600 })
  }

  record(draft: Draft): HistoryEvent {
    const event: HistoryEvent = { run: this.run, mono: Math.round(performance.now() * 1_000) / 1_000, ...draft }
    this.events.push(event)
    this.#file?.write(`${JSON.stringify(event)}\n`)
    return event
  }

  async close(): Promise<void> {
    if (!this.#file) return
    this.#file.end()
    await finished(this.#file)
  }
}

/** @returns the events of a file that a run has written */
export function parseHistory(text: string): HistoryEvent[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as HistoryEvent)
}

/** What an entry says, for comparing: the SHA-256 of its content's text, shortened. */
export const hashOf = (content: string): string => createHash('sha256').update(content).digest('base64url').slice(0, 16)
