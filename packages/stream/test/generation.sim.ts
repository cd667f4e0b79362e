/**
 * Generations under every kind of forgetting: a seeded simulator over the real decisions of generation.ts. The scripts are modelled as
 * the atomic steps that they are; between any two steps a server may be killed, promoted without its tail, flushed, isolated, or closed
 * and restarted in order. Nothing here waits or does I/O, so a million schedules take minutes:
 *
 *   node packages/stream/dist/test/generation.sim.js --schedules 1000000 --seed 1
 */
import { fileURLToPath } from 'node:url'
import { rangesBetween } from '@tidings/protocol'
import {
  closedAs,
  decideClosing,
  decideOpening,
  formatGeneration,
  type LedgerRow,
  parseGeneration,
  planLeap,
} from '../src/generation.js'

const CONVERSATIONS = ['a', 'b'] as const
type Conversation = (typeof CONVERSATIONS)[number]

/** What to leave out, to see that the simulator notices. */
export type Bug = 'none' | 'no leap' | 'leap without number' | 'trust a closed record' | 'number from redis' | 'no clip'

/** mulberry32: small, seeded, good enough to choose steps. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

interface StreamEntry {
  conversation: Conversation
  seq: number
  /** 0 for a void. */
  id: number
  from: number
}

/** What one Redis holds of one partition. Every change is a step, so that a copy of it can stop at any. */
class Server {
  record = ''
  leapt = new Set<string>()
  seq = new Map<string, number>()
  logTop = new Map<string, number>()
  stream: StreamEntry[] = []
  /** How far persist has read. */
  read = 0

  constructor(readonly id: string) {}

  copy(id: string): Server {
    const other = new Server(id)
    other.record = this.record
    other.leapt = new Set(this.leapt)
    other.seq = new Map(this.seq)
    other.logTop = new Map(this.logTop)
    other.stream = [...this.stream]
    other.read = this.read
    return other
  }

  flush(): void {
    Object.assign(this, new Server(this.id))
  }

  /** append.lua */
  append(conversation: Conversation, id: number, bug: Bug): 'open' | 'leap' | number {
    const generation = parseGeneration(this.record)
    if (generation?.server !== this.id) return 'open'
    if (bug !== 'no leap' && generation.number > 1 && !this.leapt.has(conversation)) return 'leap'
    const head = this.seq.get(conversation)
    if (head === undefined && this.logTop.has(conversation) && bug !== 'no leap') return 'leap'
    const seq = (head ?? 0) + 1
    this.seq.set(conversation, seq)
    this.logTop.set(conversation, seq)
    this.stream.push({ conversation, seq, id, from: seq })
    return seq
  }

  /** generation.lua */
  install(seen: string, next: string, server: string, lost: boolean): boolean {
    if (this.record !== seen || this.id !== server) return false
    this.record = next
    if (lost) this.leapt.clear()
    return true
  }

  /** leap.lua */
  leap(record: string, seen: number | undefined, conversation: Conversation, from: number, to: number): boolean {
    if (this.record !== record || parseGeneration(record)?.server !== this.id) return false
    const head = this.seq.get(conversation)
    if (head !== undefined && this.leapt.has(conversation)) return true
    if (head !== seen) return false
    this.stream.push({ conversation, seq: to, id: 0, from })
    this.seq.set(conversation, to)
    this.logTop.set(conversation, to)
    this.leapt.add(conversation)
    return true
  }
}

/** A piece of work whose steps others may come between. */
type Work = Generator<void, void, void>

export class Simulation {
  readonly #pick: (below: number) => number
  readonly #bug: Bug
  #made = 0
  #servers = 0
  /** The one that clients are led to, and one that is isolated with some clients, if any. */
  #server: Server
  #isolated: Server | undefined
  /** Earlier states of the server, newest last: what a replica or a disk may hold. */
  #tail: Server[] = []
  #ledger: LedgerRow | undefined
  #locked = false
  #words = 0
  readonly #rows = new Map<string, Map<number, { id: number; from: number }>>()
  /** Every seq that was ever answered to a sender or pushed to a device. */
  readonly #given = new Map<string, number>()
  readonly #accepted: { conversation: Conversation; seq: number; id: number }[] = []
  /** Read by persist and not committed yet. */
  #batch: StreamEntry[] = []
  accepted = 0
  lost = 0
  leaps = 0

  constructor(seed: number, bug: Bug) {
    this.#pick = random(seed)
    this.#bug = bug
    this.#server = new Server(`s${++this.#servers}`)
    for (const conversation of CONVERSATIONS) this.#rows.set(conversation, new Map())
  }

  /** One schedule. @throws Error with what was broken */
  run(steps: number): void {
    const works: Work[] = []
    for (let step = 0; step < steps; step++) {
      if (works.length < 4 && this.#pick(3) === 0) works.push(this.#begin())
      const work = works[this.#pick(Math.max(1, works.length))]
      if (work?.next().done) works.splice(works.indexOf(work), 1)
      this.#remember()
      if (this.#pick(12) === 0) this.#harm()
    }
    for (const work of works) while (!work.next().done);
    this.#isolated = undefined
    this.#quiet()
  }

  #begin(): Work {
    const kind = this.#pick(10)
    const conversation = CONVERSATIONS[this.#pick(CONVERSATIONS.length)]!
    if (kind < 6) return this.#send(conversation)
    if (kind < 9) return this.#persist()
    return this.#close()
  }

  #remember(): void {
    this.#tail.push(this.#server.copy(this.#server.id))
    if (this.#tail.length > 8) this.#tail.shift()
  }

  #harm(): void {
    switch (this.#pick(5)) {
      case 0:
        this.#lose()
        return
      case 1:
        this.#server.flush()
        this.#tail = []
        return
      case 2:
        // A split: the old one goes on with some clients, and another one takes over without the end of it.
        if (!this.#isolated) {
          this.#isolated = this.#server
          this.#lose()
        }
        return
      case 3:
        this.#isolated = undefined
        return
      default: {
        // Stopped and started with all it had: in order only when it was closed before.
        this.#server = this.#server.copy(`s${++this.#servers}`)
      }
    }
  }

  /** Another server, with what a replica or the disk had some steps ago. */
  #lose(): void {
    const before = this.#tail[this.#pick(Math.max(1, this.#tail.length))] ?? new Server('')
    this.#server = before.copy(`s${++this.#servers}`)
    this.#tail = []
    this.lost++
  }

  *#send(conversation: Conversation): Work {
    const id = ++this.#made
    for (let detours = 0; detours < 6; detours++) {
      const server = this.#isolated && this.#pick(2) === 0 ? this.#isolated : this.#server
      const answer = server.append(conversation, id, this.#bug)
      if (typeof answer === 'number') return this.#answered(conversation, answer, id)
      yield
      yield* answer === 'open' ? this.#open() : this.#leap(conversation)
    }
  }

  /** From here on somebody may hold it. */
  #answered(conversation: Conversation, seq: number, id: number): void {
    const key = `${conversation}${seq}`
    const before = this.#given.get(key)
    if (before !== undefined) throw new Error(`seq ${seq} of ${conversation} was given to ${before} and to ${id}`)
    this.#given.set(key, id)
    this.#accepted.push({ conversation, seq, id })
    this.accepted++
  }

  *#open(): Work {
    if (this.#locked) return
    this.#locked = true
    for (let look = 0; look < 3; look++) {
      const { record, id: server } = this.#server
      yield
      const ledger = this.#ledger
      const opening = decideOpening(
        parseGeneration(record),
        server,
        this.#bug === 'number from redis' ? undefined : ledger,
      )
      if (opening.kind === 'current') break
      // Lost now and then with its connection, while its holder goes on.
      if (this.#pick(20) === 0) this.#locked = false
      yield
      const closed = this.#bug === 'trust a closed record' ? (ledger?.closed ?? '') : ''
      if (!this.#write(ledger, { number: opening.number, closed })) continue
      yield
      const next = formatGeneration({ number: opening.number, server })
      if (this.#server.install(record, next, server, opening.kind === 'lost')) break
    }
    this.#locked = false
  }

  #write(seen: LedgerRow | undefined, row: LedgerRow): boolean {
    if (this.#ledger?.number !== seen?.number || this.#ledger?.closed !== seen?.closed) return false
    this.#ledger = row
    return true
  }

  *#close(): Work {
    if (this.#locked) return
    this.#locked = true
    const { record, id: server } = this.#server
    yield
    const ledger = this.#ledger
    const closing = decideClosing(parseGeneration(record), server, ledger, `w${++this.#words}`)
    yield
    if (closing && this.#write(ledger, closing)) {
      yield
      const closed = formatGeneration({ number: closing.number, server: closedAs(closing.closed) })
      this.#server.install(record, closed, server, false)
    }
    this.#locked = false
  }

  *#leap(conversation: Conversation): Work {
    const { record, id } = this.#server
    const generation = parseGeneration(record)
    if (generation?.server !== id) return
    yield
    const seen = this.#server.seq.get(conversation)
    const logTop = this.#server.logTop.get(conversation) ?? 0
    yield
    const stored = Math.max(0, ...this.#rows.get(conversation)!.keys())
    const facts = { head: seen ?? 0, n: 0, logTop, stored: { seq: stored, n: 0 } }
    const { from, to } = planLeap(facts, this.#bug === 'leap without number' ? 1 : generation.number)
    yield
    if (this.#server.leap(record, seen, conversation, from, to)) this.leaps++
  }

  *#persist(): Work {
    const server = this.#server
    const read = server.stream.slice(server.read, server.read + 1 + this.#pick(3))
    // One batch at a time: the next is read when this one is committed.
    if (this.#batch.length > 0 || read.length === 0) return
    this.#batch = read
    yield
    this.#commit()
    yield
    // Settled where it was read, unless that server is gone: then it is read again.
    if (server === this.#server) server.read = Math.max(server.read, server.stream.indexOf(read.at(-1)!) + 1)
  }

  #commit(): void {
    for (const { conversation, seq, id, from } of this.#batch) {
      const rows = this.#rows.get(conversation)!
      const there = rows.get(seq)
      if (id === 0) {
        this.#storeVoid(conversation, from, seq)
      } else if (there && there.id !== id) {
        throw new Error(`seq ${seq} of ${conversation} is stored as ${there.id} and comes again as ${id}`)
      } else if (!there) {
        for (const [to, row] of rows)
          if (row.id === 0 && row.from <= seq && seq <= to)
            throw new Error(`${id} comes into the void ${row.from}..${to}`)
        rows.set(seq, { id, from: seq })
      }
    }
    this.#batch = []
  }

  #storeVoid(conversation: Conversation, from: number, to: number): void {
    const rows = this.#rows.get(conversation)!
    const inside = [...rows].filter(([seq]) => seq >= from && seq <= to).sort(([a], [b]) => a - b)
    const taken = inside.map(([seq, row]) => ({ from: row.from, to: seq }))
    const ranges = this.#bug === 'no clip' ? [{ from, to }] : rangesBetween({ from, to }, taken)
    for (const range of ranges) rows.set(range.to, { id: 0, from: range.from })
  }

  /** Everything that is in the stream is stored; then the rows must tell one story. */
  #quiet(): void {
    if (this.#batch.length > 0) this.#commit()
    this.#batch = this.#server.stream.slice(this.#server.read)
    this.#commit()
    for (const conversation of CONVERSATIONS) {
      const rows = [...this.#rows.get(conversation)!].sort(([a], [b]) => a - b)
      for (const [i, [seq, row]] of rows.entries()) {
        if (row.from <= (rows[i - 1]?.[0] ?? 0)) throw new Error(`rows of ${conversation} overlap at ${seq}`)
      }
    }
    for (const { conversation, seq, id } of this.#accepted) {
      const row = this.#rows.get(conversation)!.get(seq)
      if (row && row.id !== 0 && row.id !== id)
        throw new Error(`${conversation}${seq} is ${row.id}, its sender was told ${id}`)
    }
  }
}

export interface SimulationResult {
  schedules: number
  accepted: number
  lost: number
  leaps: number
}

/** Runs schedules from a seed on. @throws Error with the seed of the schedule that broke something */
export function simulate(schedules: number, seed: number, bug: Bug = 'none'): SimulationResult {
  const result: SimulationResult = { schedules, accepted: 0, lost: 0, leaps: 0 }
  for (let i = 0; i < schedules; i++) {
    const one = new Simulation(seed + i, bug)
    try {
      one.run(120)
    } catch (error) {
      throw new Error(`schedule with seed ${seed + i}: ${(error as Error).message}`, { cause: error })
    }
    result.accepted += one.accepted
    result.lost += one.lost
    result.leaps += one.leaps
  }
  return result
}

const argument = (name: string, fallback: number): number => {
  const at = process.argv.indexOf(`--${name}`)
  return at === -1 ? fallback : Number(process.argv[at + 1])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const result = simulate(argument('schedules', 1_000_000), argument('seed', 1))
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
