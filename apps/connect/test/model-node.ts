/** A connect node in the simulator: its sessions, what is pushed to it, its acks and its sweep. */
import { Marks, OVERLAP_MS } from '../src/marks.js'
import { Broken, type Conversation } from './model-log.js'
import type { SimulatedSession } from './model-session.js'
import type { Simulation } from './model-world.js'

const SWEEP_MS = 30_000
const RETRY_MS = 1_000
const GATHER_MS = 100

interface Ack {
  session: SimulatedSession
  conversation: Conversation
  seq: number
}

export class Node {
  readonly sessions = new Set<SimulatedSession>()
  /** Acks that wait, by device and conversation. */
  readonly #acks = new Map<string, Ack>()
  /** Who waits for the call that is under way. */
  #flushed: ((written: boolean) => void)[] = []
  readonly #marks: Marks
  #dueAt = Number.POSITIVE_INFINITY
  #sweeping = false

  constructor(private readonly world: Simulation) {
    this.#marks = new Marks(1, world.time.now)
    this.sweepSoon(0)
  }

  /** deliver.ts */
  push(conversation: Conversation, seq: number): void {
    for (const session of [...this.sessions]) {
      if (this.world.planted.positionFromPush && session.positionOf(conversation.name) === undefined) {
        session.begin([{ conversation: conversation.name, cursor: seq - 1, head: seq, joined: 0, floor: 0 }], {
          fromOldest: false,
          resume: false,
        })
      }
      const show = session.showIn(conversation)
      if (session.push(conversation.name, seq, String(seq), session.congested, show)) session.repairSoon(conversation)
    }
  }

  /** frames.ts, ack: only what was shown, and nothing beyond a gap. */
  ack(session: SimulatedSession, conversation: Conversation, seq: number): void {
    if (session.closed) return
    if (seq > (session.positionOf(conversation.name) ?? 0)) throw new Broken('an ack of what was shown is refused')
    const upTo = session.ackable(conversation.name, seq)
    if (upTo < 1) return
    session.acked.set(conversation, Math.max(upTo, session.acked.get(conversation) ?? 0))
    this.#merge({ session, conversation, seq: upTo })
    this.world.time.after(GATHER_MS, () => this.flush(() => undefined))
  }

  #merge(ack: Ack): void {
    const key = `${ack.session.device.name} ${ack.conversation.name}`
    const before = this.#acks.get(key)
    if (!before || before.seq < ack.seq) this.#acks.set(key, ack)
  }

  /** ack.ts: what waits goes to logic, one call at a time; what fails waits again. @param done told whether all was written */
  flush(done: (written: boolean) => void): void {
    this.#flushed.push(done)
    if (this.#flushed.length === 1) this.#send()
  }

  #send(): void {
    const { time, chances, sources } = this.world
    const all = [...this.#acks.values()]
    this.#acks.clear()
    time.after(1 + chances.below(20), () => {
      const written = sources.logUp
      for (const ack of all) {
        if (written) this.world.moveCursor(ack.session.device, ack.conversation, ack.seq)
        else this.#merge(ack)
      }
      if (written && this.#acks.size > 0) {
        this.#send()
        return
      }
      if (!written) time.after(RETRY_MS, () => this.flush(() => undefined))
      const flushed = this.#flushed
      this.#flushed = []
      for (const done of flushed) done(written)
    })
  }

  /** Ends a session, from either side. */
  close(session: SimulatedSession): void {
    if (session.closed) return
    session.state = 'closed'
    this.sessions.delete(session)
    this.world.unlist(session)
    this.flush(() => undefined)
  }

  /** sweep.ts */
  sweepSoon(delayMs: number): void {
    const { time, planted } = this.world
    const at = time.now + delayMs
    if (planted.noSweep || this.#dueAt <= at) return
    this.#dueAt = at
    time.after(delayMs, () => {
      if (this.#dueAt !== at) return
      this.#dueAt = Number.POSITIVE_INFINITY
      if (this.#sweeping) this.sweepSoon(RETRY_MS)
      else this.#sweep()
    })
  }

  #sweep(): void {
    const { time, chances, sources } = this.world
    const soon = (run: () => void): void => {
      time.after(1 + chances.below(20), () => {
        if (sources.logUp) return run()
        this.#sweeping = false
        this.sweepSoon(RETRY_MS)
      })
    }
    this.#sweeping = true
    const asked = time.now
    const { redisMs, elapsedMs } = this.#marks.since(0, asked)
    soon(() => {
      // recent.lua
      const now = sources.redisNow
      const from = Math.min(now - elapsedMs, redisMs ?? Number.POSITIVE_INFINITY) - OVERLAP_MS
      const changed = [...sources.recent].flatMap(([conversation, score]) => (score < from ? [] : [conversation]))
      this.#marks.looked(0, now, asked)
      soon(() => {
        const heads = changed.map(({ head }) => head)
        time.after(1 + chances.below(20), () => {
          for (const [i, conversation] of changed.entries()) {
            for (const session of [...this.sessions]) {
              if (session.reaches(conversation.name, heads[i]!)) session.repairSoon(conversation)
            }
          }
          this.#marks.done()
          this.#sweeping = false
          this.sweepSoon(this.world.unlistedAt(this) ? RETRY_MS : SWEEP_MS)
        })
      })
    })
  }
}
