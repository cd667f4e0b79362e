/**
 * Where a session stands in its conversations, as pure state: what was shown, what is known to exist, what was pushed before it was
 * open, and what may be acknowledged. It does no I/O; session.ts adds the socket.
 */
import { EVERYONE, isRoom } from '@tidings/protocol'
import { Flow, type Frame } from './sequencer.js'

export type SessionState = 'opening' | 'open' | 'closed'

/** Where a device stands in a conversation, and how far that reaches. */
export interface Position {
  conversation: string
  cursor: number
  head: number
  /** In a room: the seq at which the user joined; 0 elsewhere. */
  joined: number
  /** The user may read what is above it. */
  floor: number
}

/** One position for several sessions, which are all shown the same. */
export interface SharedPosition {
  readonly position: number
  /** The session has had everything up to the position, and goes on by itself. */
  release(standing: Standing): void
}

/** Nothing of it was shown after `limit` up to `end`. */
interface Gap {
  limit: number
  end: number
}

/** Gaps of one conversation that are kept apart; the last takes in those that come after it. */
const MOST_GAPS = 16

export class Standing {
  state: SessionState = 'opening'
  // Made when there is something to put in: most sessions rest, and an empty map weighs as much as all the rest of one.
  /** conversation to its flow; to its position alone as long as nothing happens in it; or to one that it shares with others */
  #flows: Map<string, Flow | SharedPosition | number> | undefined
  /** The rooms that the user is in. Of other conversations the name alone says whose they are. */
  #rooms: Map<string, Pick<Position, 'joined' | 'floor'>> | undefined
  /** Rooms that the user has left while this session was there: up to where they were shown. */
  #left: Map<string, number> | undefined
  /** Conversations with gaps that were not paged yet. */
  #gaps: Map<string, Gap[]> | undefined
  /** What was said to exist while the session opened, conversation to highest seq: its positions may be older than that. */
  #hints: Map<string, number> | undefined
  /** The user is shown `feed:*` from behind it. */
  #feedFloor = 0

  /** The flow of a conversation, from now on of this session alone. One that was not there when the session opened begins at 0. */
  flow(conversation: string): Flow {
    this.#shared(conversation)?.release(this)
    this.#flows ??= new Map()
    const known = this.#flows.get(conversation)
    if (known instanceof Flow) return known
    const flow = new Flow(this.positionOf(conversation) ?? 0)
    this.#flows.set(conversation, flow)
    return flow
  }

  /** The position in a conversation of which this open session has been shown all that it knows of. */
  restingAt(conversation: string): number | undefined {
    const known = this.#flows?.get(conversation)
    return this.state === 'open' && known instanceof Flow && known.resting ? known.position : undefined
  }

  /** The session goes on in a conversation together with others. */
  share(conversation: string, shared: SharedPosition): void {
    this.#flows?.set(conversation, shared)
  }

  /** This session goes on by itself everywhere: what is on its way to it and others has left then. */
  fallOut(): void {
    for (const room of this.rooms()) this.#shared(room)?.release(this)
  }

  #shared(conversation: string): SharedPosition | undefined {
    const known = this.#flows?.get(conversation)
    return typeof known === 'object' && !(known instanceof Flow) ? known : undefined
  }

  /**
   * The stored positions, read after the session was listed.
   * @param wishes fromOldest: from the beginning; resume: the client's cursors follow
   */
  begin(positions: readonly Position[], wishes: { fromOldest: boolean; resume: boolean }): void {
    for (const { conversation, cursor, head, joined, floor } of positions) {
      const position = wishes.fromOldest ? floor : cursor
      if (joined > 0) this.#enter(conversation, { joined, floor })
      if (conversation === EVERYONE) this.#feedFloor = floor
      this.#flows ??= new Map()
      this.#flows.set(conversation, position)
      if (head > position || wishes.resume) this.flow(conversation).raise(head)
    }
  }

  /** The client says where it stands. Conversations that are not its own, and the future, are ignored. */
  resumeFrom(conversation: string, cursor: number): void {
    if (!this.#flows?.has(conversation)) return
    const flow = this.flow(conversation)
    const floor = conversation === EVERYONE ? this.#feedFloor : (this.#rooms?.get(conversation)?.floor ?? 0)
    flow.position = Math.min(Math.max(cursor, floor), flow.known)
  }

  #enter(conversation: string, room: Pick<Position, 'joined' | 'floor'>): void {
    this.#rooms ??= new Map()
    this.#rooms.set(conversation, room)
  }

  /** The rooms of this session. */
  rooms(): Iterable<string> {
    return this.#rooms?.keys() ?? []
  }

  /** The seq at which the user joined a room; undefined when this session does not know of it. */
  joinedAt(room: string): number | undefined {
    return this.#rooms?.get(room)?.joined
  }

  /** Up to where a room was shown that the user has left; undefined for others. */
  leftAt(room: string): number | undefined {
    return this.#left?.get(room)
  }

  /**
   * The user is in a room from a seq on. One that is known from that seq on or a later one stays as it is; and what was left again since
   * is not entered anew by somebody who hears late of the joining.
   * @param cursor everything up to it was acknowledged, or was before the joining
   */
  join(room: string, { joined, floor, cursor }: Pick<Position, 'joined' | 'floor' | 'cursor'>): void {
    if (Math.max(this.joinedAt(room) ?? 0, this.#left?.get(room) ?? 0) >= joined) return
    this.#enter(room, { joined, floor })
    this.#shared(room)?.release(this)
    this.#flows ??= new Map()
    this.#flows.set(room, new Flow(cursor))
    this.#gaps?.delete(room)
  }

  /** The user is not in a room any more: nothing of it is shown from now on. */
  leave(room: string): void {
    if (!this.#rooms?.has(room)) return
    this.#shared(room)?.release(this)
    this.#left ??= new Map()
    this.#left.set(room, this.positionOf(room) ?? 0)
    this.#rooms.delete(room)
    this.#flows?.delete(room)
    this.#gaps?.delete(room)
    this.#hints?.delete(room)
  }

  /**
   * From now on pushes are taken.
   * @returns the conversations with a backlog. Their flows are reading: what is pushed to them waits until the backlog is through.
   */
  open(): string[] {
    for (const [conversation, seq] of this.#hints ?? []) {
      if (this.holds(conversation)) this.flow(conversation).raise(seq)
    }
    this.#hints = undefined
    if (this.state === 'opening') this.state = 'open'
    const behind: string[] = []
    for (const [conversation, flow] of this.#flows ?? []) {
      if (flow instanceof Flow && flow.startReading()) behind.push(conversation)
    }
    return behind
  }

  /**
   * A pushed entry.
   * @param hintOnly the entry is not taken from here: it is a void, or too much waits for this reader, who is shown it from the log; or it
   *   may be over by the time when it is its turn
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

  /** Would this entry of an open session be shown at once? */
  isNext(conversation: string, seq: number): boolean {
    if (this.state !== 'open') return false
    const known = this.#flows?.get(conversation)
    if (known instanceof Flow && known.state === 'reading') return false
    return seq === (this.positionOf(conversation) ?? 0) + 1
  }

  /** Is the conversation the user's, as far as this session knows? Rooms have to be entered. */
  holds(conversation: string): boolean {
    return !isRoom(conversation) || this.#rooms?.has(conversation) === true
  }

  /** What is missing in a conversation is read from now on. @returns false when nothing is missing, or somebody is on it already */
  startReading(conversation: string): boolean {
    const known = this.#flows?.get(conversation)
    return this.holds(conversation) && known instanceof Flow && known.state === 'waiting' && known.startReading()
  }

  /** A conversation reaches this far. @returns true when something is missing and nobody is on it yet: repair it soon */
  reaches(conversation: string, head: number): boolean {
    if (this.state !== 'open') {
      this.#hint(conversation, head)
      return false
    }
    const shared = this.#shared(conversation)
    // Mostly nothing is missing: then those in step stay together.
    if (!this.holds(conversation) || (shared && shared.position >= head)) return false
    return this.flow(conversation).raise(head)
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
    const gaps = this.#gaps.get(conversation) ?? []
    this.#gaps.set(conversation, gaps)
    const last = gaps.at(-1)
    if (!last || gaps.length < MOST_GAPS) {
      gaps.push({ limit, end: gapEnd })
      return
    }
    last.limit = Math.min(last.limit, limit)
    last.end = Math.max(last.end, gapEnd)
  }

  /** The client was shown all after `after` up to `to`, on its own request: a gap shrinks from below. */
  filled(conversation: string, after: number, to: number): void {
    const gaps = this.#gaps?.get(conversation)
    if (!gaps) return
    for (const gap of gaps) if (after <= gap.limit && to > gap.limit) gap.limit = to
    const open = gaps.filter(({ limit, end }) => limit < end)
    if (open.length > 0) this.#gaps?.set(conversation, open)
    else this.#gaps?.delete(conversation)
  }

  /** The seq that an ack may move the cursor to: a cursor covers everything below it. */
  ackable(conversation: string, seq: number): number {
    let upTo = seq
    for (const { limit } of this.#gaps?.get(conversation) ?? []) upTo = Math.min(upTo, limit)
    return upTo
  }
}
