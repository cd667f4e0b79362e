/** A model of what sessions read from: conversations as logs, MySQL below them, cursors, and Redis' index of what changed. */
import type { Entry } from '@tidings/protocol'
import type { SimulatedTime } from '@tidings/service/simulation'
import type { Page } from '../src/repair.js'

/** What breaks the rules is thrown as this. */
export class Broken extends Error {}

/** What is at a seq. `unknown`: given out, but nobody can say yet whether an entry or nothing is there. */
type Kind = 'entry' | 'void' | 'unknown'

export class Conversation {
  head = 0
  /** Up to here everything is in MySQL. */
  stored = 0
  /** Up to here the log was cut. */
  trimmed = 0
  readonly #kinds: Kind[] = []
  #unknown = 0

  constructor(readonly name: string) {}

  append(kind: Kind): number {
    this.#kinds[++this.head] = kind
    if (kind === 'unknown') this.#unknown++
    return this.head
  }

  kindOf(seq: number): Kind | undefined {
    return this.#kinds[seq]
  }

  /** What was unknown is either there or void after all, and stored. */
  clear(kind: 'entry' | 'void'): void {
    for (let seq = 1; seq <= this.head; seq++) if (this.#kinds[seq] === 'unknown') this.#kinds[seq] = kind
    this.#unknown = 0
  }

  /** Is there something that cannot be read although all sources answer? */
  get unclear(): boolean {
    return this.#unknown > 0 || this.stored < this.head
  }

  inLog(seq: number): boolean {
    return seq > this.trimmed && seq <= this.head && this.#kinds[seq] === 'entry'
  }

  inMysql(seq: number): boolean {
    return seq <= this.stored && this.#kinds[seq] !== 'unknown'
  }
}

export class Sources {
  logUp = true
  mysqlUp = true
  etcdUp = true
  readonly conversations: Conversation[] = []
  /** Redis' `recent`: when a conversation changed last. */
  readonly recent = new Map<Conversation, number>()
  /** Redis' clock against ours. */
  clockOffset = 0
  /** What devices have acknowledged, by device and conversation. */
  readonly cursors = new Map<string, number>()
  /** When a source was away, or something unclear, last. */
  #troubleAt = Number.NEGATIVE_INFINITY

  constructor(private readonly time: SimulatedTime) {}

  get redisNow(): number {
    return this.time.now + this.clockOffset
  }

  append(conversation: Conversation, kind: Kind): number {
    if (!this.conversations.includes(conversation)) this.conversations.push(conversation)
    this.recent.set(conversation, this.redisNow)
    return conversation.append(kind)
  }

  /** Was it hard to read lately? Then a gap is no lie. */
  troubled(withinMs: number): boolean {
    this.noteTrouble()
    return this.time.now - this.#troubleAt <= withinMs
  }

  noteTrouble(): void {
    const now = !this.logUp || !this.mysqlUp || this.conversations.some((conversation) => conversation.unclear)
    if (now) this.#troubleAt = this.time.now
  }

  cursor(device: string, conversation: Conversation): number {
    return this.cursors.get(`${device} ${conversation.name}`) ?? 0
  }

  /** As catch-up.ts reads: the log where it has the next one, else both sources. @returns undefined when a needed one is away */
  read(conversation: Conversation, after: number, limit: number): Page | undefined {
    if (!this.logUp) return undefined
    const entries: Entry[] = []
    for (let seq = after + 1; entries.length < limit && conversation.inLog(seq); seq++) entries.push(entryOf(seq))
    if (entries.length > 0) return { entries, voids: [] }
    if (!this.mysqlUp) return undefined
    const voids: { from: number; to: number }[] = []
    for (let seq = after + 1; seq <= conversation.head && entries.length + voids.length < limit; seq++) {
      const kind = conversation.kindOf(seq)
      if (kind === 'void' && conversation.inMysql(seq)) voids.push({ from: seq, to: seq })
      else if (kind === 'entry' && (conversation.inLog(seq) || conversation.inMysql(seq))) entries.push(entryOf(seq))
    }
    return { entries, voids }
  }
}

const entryOf = (seq: number): Entry => ({
  id: '1',
  conversation: 'c',
  seq,
  n: seq,
  from: 'a',
  type: 'text',
  content: '{}',
  clientId: '',
  sentAt: 0,
  trace: '',
})

/** The seq in a frame, pushed or read. */
export function seqOf(frame: string | Uint8Array): number {
  const text = String(frame)
  return Number(text.startsWith('{') ? /"seq":(\d+)/.exec(text)![1] : text)
}
