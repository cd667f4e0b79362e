/**
 * Where a session stands in its conversations, as pure state: what was shown, what is known to exist, what was pushed before it was
 * open, and what may be acknowledged. It does no I/O; session.ts adds the socket.
 */
import { Flow, type Frame } from './sequencer.js'

export type SessionState = 'opening' | 'open' | 'closed'

/** Where a device stands in a conversation, and how far that reaches. */
export interface Position {
  conversation: string
  cursor: number
  head: number
}

export class Standing {
  state: SessionState = 'opening'
  // Made when there is something to put in: most sessions rest, and an empty map weighs as much as all the rest of one.
  /** conversation to its flow, or to its position alone as long as nothing happens in it */
  #flows: Map<string, Flow | number> | undefined
  /** Conversations with a gap that was not paged yet. */
  #gaps: Map<string, { limit: number; end: number }> | undefined
  /** What was said to exist while the session opened, conversation to highest seq: its positions may be older than that. */
  #hints: Map<string, number> | undefined

  /** The flow of a conversation. One that was not there when the session opened begins at 0. */
  flow(conversation: string): Flow {
    this.#flows ??= new Map()
    const known = this.#flows.get(conversation)
    if (typeof known === 'object') return known
    const flow = new Flow(known ?? 0)
    this.#flows.set(conversation, flow)
    return flow
  }

  /**
   * The stored positions, read after the session was listed.
   * @param wishes fromOldest: from the beginning; resume: the client's cursors follow
   */
  begin(positions: readonly Position[], wishes: { fromOldest: boolean; resume: boolean }): void {
    for (const { conversation, cursor, head } of positions) {
      const position = wishes.fromOldest ? 0 : cursor
      this.#flows ??= new Map()
      this.#flows.set(conversation, position)
      if (head > position || wishes.resume) this.flow(conversation).raise(head)
    }
  }

  /** The client says where it stands. Conversations that are not its own, and the future, are ignored. */
  resumeFrom(conversation: string, cursor: number): void {
    if (!this.#flows?.has(conversation)) return
    const flow = this.flow(conversation)
    flow.position = Math.min(cursor, flow.known)
  }

  /**
   * From now on pushes are taken.
   * @returns the conversations with a backlog. Their flows are reading: what is pushed to them waits until the backlog is through.
   */
  open(): string[] {
    for (const [conversation, seq] of this.#hints ?? []) this.flow(conversation).raise(seq)
    this.#hints = undefined
    if (this.state === 'opening') this.state = 'open'
    const behind: string[] = []
    for (const [conversation, flow] of this.#flows ?? []) {
      if (typeof flow === 'object' && flow.startReading()) behind.push(conversation)
    }
    return behind
  }

  /**
   * A pushed entry.
   * @param hintOnly the entry is not taken from here: it is a void, or too much waits for this reader, who is shown it from the log
   * @returns true when something is missing and nobody is on it yet: repair it soon
   */
  push(conversation: string, seq: number, frame: Frame, hintOnly: boolean, show: (frame: Frame) => void): boolean {
    if (this.state !== 'open') {
      this.#hint(conversation, seq)
      return false
    }
    const flow = this.flow(conversation)
    return hintOnly ? flow.raise(seq) : flow.push(seq, frame, show)
  }

  /** A conversation reaches this far. @returns true when something is missing and nobody is on it yet: repair it soon */
  reaches(conversation: string, head: number): boolean {
    if (this.state === 'open') return this.flow(conversation).raise(head)
    this.#hint(conversation, head)
    return false
  }

  #hint(conversation: string, seq: number): void {
    if (this.state !== 'opening') return
    this.#hints ??= new Map()
    this.#hints.set(conversation, Math.max(seq, this.#hints.get(conversation) ?? 0))
  }

  /** Up to where the session has been shown a conversation; undefined when it has nothing of it. */
  positionOf(conversation: string): number | undefined {
    const known = this.#flows?.get(conversation)
    return typeof known === 'object' ? known.position : known
  }

  /** A gap was told: up to its end nothing beyond `limit` counts as acknowledged. */
  limitAcks(conversation: string, limit: number, gapEnd: number): void {
    this.#gaps ??= new Map()
    const before = this.#gaps.get(conversation)
    this.#gaps.set(conversation, { limit: before?.limit ?? limit, end: gapEnd })
  }

  /** The client was shown all after `after` up to `to`, on its own request: a gap shrinks from below. */
  filled(conversation: string, after: number, to: number): void {
    const gap = this.#gaps?.get(conversation)
    if (!gap || after > gap.limit || to <= gap.limit) return
    if (to >= gap.end) this.#gaps?.delete(conversation)
    else gap.limit = to
  }

  /** The seq that an ack may move the cursor to: a cursor covers everything below it. */
  ackable(conversation: string, seq: number): number {
    return Math.min(seq, this.#gaps?.get(conversation)?.limit ?? seq)
  }
}
