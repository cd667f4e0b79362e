/** A session in the simulator: the real Standing and Repair, with a reader that checks what it is shown. */
import { type NextStep, Repair } from '../src/repair.js'
import type { Frame } from '../src/sequencer.js'
import { Standing } from '../src/standing.js'
import { Broken, type Conversation, seqOf } from './model-log.js'
import type { Node } from './model-node.js'
import type { Simulation } from './model-world.js'

const PAGE = 5
const HOLE_WAIT_MS = 50

/** What one device has, over all its sessions. */
export class Device {
  session: SimulatedSession | undefined
  readonly #has = new Map<Conversation, Set<number>>()

  constructor(readonly name: string) {}

  gets(conversation: Conversation, seq: number): void {
    const has = this.#has.get(conversation) ?? new Set()
    this.#has.set(conversation, has.add(seq))
  }

  has(conversation: Conversation, seq: number): boolean {
    return this.#has.get(conversation)?.has(seq) ?? false
  }

  /** Up to where it has everything. */
  hasUpTo(conversation: Conversation): number {
    let seq = 0
    while (this.has(conversation, seq + 1)) seq++
    return seq
  }
}

export class SimulatedSession extends Standing {
  /** What the reader was last told of, by conversation: the next must follow. */
  readonly #last = new Map<Conversation, number>()
  /** The highest ack that the node has taken, by conversation. */
  readonly acked = new Map<Conversation, number>()
  congested = false

  constructor(
    private readonly world: Simulation,
    readonly node: Node,
    readonly device: Device,
    /** When etcd listed it; it rises. */
    public listed: number | undefined,
    readonly wantsGaps: boolean,
  ) {
    super()
  }

  get closed(): boolean {
    return this.state === 'closed'
  }

  last(conversation: Conversation): number {
    return this.#last.get(conversation) ?? 0
  }

  startsAt(conversation: Conversation, seq: number): void {
    this.#last.set(conversation, seq)
  }

  #follows(conversation: Conversation, from: number, to: number, what: string): void {
    const last = this.last(conversation)
    if (from !== last + 1)
      throw new Broken(`${what} ${from} after ${last} in ${conversation.name} of ${this.device.name}`)
    this.#last.set(conversation, to)
  }

  showIn(conversation: Conversation): (frame: Frame) => void {
    return (frame) => {
      if (this.closed) return
      const seq = seqOf(frame)
      this.#follows(conversation, seq, seq, 'shown')
      if (conversation.kindOf(seq) === 'void') throw new Broken(`an entry was shown where nothing is: ${seq}`)
      this.device.gets(conversation, seq)
      this.world.onShown(this, conversation, seq)
    }
  }

  tellVoid(conversation: Conversation, from: number, to: number): void {
    if (this.closed) return
    this.#follows(conversation, from, to, 'void')
    for (let seq = from; seq <= to; seq++) {
      if (conversation.kindOf(seq) !== 'void') throw new Broken(`void was told where something is: ${seq}`)
      this.device.gets(conversation, seq)
    }
  }

  tellGap(conversation: Conversation, from: number, to: number, wanted: boolean): void {
    if (this.closed) return
    this.#follows(conversation, from, to, 'gap')
    if (!wanted && !this.world.sources.troubled(3_000)) throw new Broken(`gap ${from} to ${to} where all could be read`)
    if (!this.world.planted.acksInGaps) this.limitAcks(conversation.name, from - 1, to)
    this.world.onGap(this, conversation, from)
  }

  /** A hole was found. */
  repairSoon(conversation: Conversation): void {
    this.world.time.after(HOLE_WAIT_MS, () => {
      const flow = this.flow(conversation.name)
      if (!this.closed && flow.state === 'waiting' && flow.startReading()) this.repair(conversation, () => undefined)
    })
  }

  /** catch-up.ts, with time instead of promises. @param done told when the flow is live */
  repair(conversation: Conversation, done: () => void): void {
    const { time, chances, sources } = this.world
    const flow = this.flow(conversation.name)
    let beginning = true
    const repair = new Repair(
      flow,
      {
        wantsGaps: this.wantsGaps,
        show: this.showIn(conversation),
        tellVoid: (from, to) => this.tellVoid(conversation, from, to),
        tellGap: (from, to) => this.tellGap(conversation, from, to, beginning),
      },
      () => chances.next(),
    )
    beginning = false
    const soon = (run: () => void): void => time.after(1 + chances.below(20), () => this.closed || run())
    const whenWritable = (run: () => void): void => {
      if (this.closed) return
      if (this.congested) time.after(100, () => whenWritable(run))
      else run()
    }
    const showOn = (): void => {
      while (!this.closed && !this.congested && repair.showNext());
      if (this.congested) whenWritable(showOn)
      else go(repair.next(time.now))
    }
    const go = (step: NextStep): void => {
      if (this.closed) return
      if (step === 'live') done()
      else if (step === 'ask') soon(() => go(repair.resists(sources.logUp)))
      else if (step !== 'read') time.after(step.waitMs, () => go('read'))
      else {
        whenWritable(() =>
          soon(() => {
            const page = sources.read(conversation, flow.position, PAGE)
            soon(() => {
              repair.take(page)
              showOn()
            })
          }),
        )
      }
    }
    go('read')
  }
}
