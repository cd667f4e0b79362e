/** What holds the simulator of cutover together: nodes, devices that come and go, a worker whose list of sessions lags, pushes. */
import type { Chances, SimulatedTime } from '@tidings/service/simulation'
import { coveredTo } from '../src/repair.js'
import { Broken, type Conversation, type Sources } from './model-log.js'
import { Node } from './model-node.js'
import { type Device, SimulatedSession } from './model-session.js'

const RECHECK_MS = 2_000

/** Deliberate faults, to show that the simulator finds them. */
export interface Planted {
  /** Heads are never looked at again. */
  noSweep?: boolean
  /** A conversation that a session does not know begins where a push says. */
  positionFromPush?: boolean
  /** Acks reach across gaps. */
  acksInGaps?: boolean
}

export class Simulation {
  readonly nodes: Node[]
  /** Sessions that the worker knows of. */
  readonly #routed = new Set<SimulatedSession>()
  #listings = 0
  /** Everything works: no push is lost, no source away. */
  calm = false

  constructor(
    readonly time: SimulatedTime,
    readonly chances: Chances,
    readonly sources: Sources,
    readonly devices: readonly Device[],
    readonly planted: Planted,
  ) {
    this.nodes = [new Node(this), new Node(this)]
  }

  #soon(run: () => void): void {
    this.time.after(1 + this.chances.below(30), run)
  }

  /** An entry is accepted, and pushed to the nodes where the worker knows a session. */
  append(conversation: Conversation): void {
    const seq = this.sources.append(conversation, 'entry')
    this.#soon(() => {
      const nodes = new Set([...this.#routed].map(({ node }) => node))
      for (const node of nodes) this.#pushTo(node, conversation, seq)
    })
  }

  #pushTo(node: Node, conversation: Conversation, seq: number): void {
    const { chances, time } = this
    const push = (): void =>
      time.after(1 + chances.below(chances.happens(0.1) ? 400 : 15), () => node.push(conversation, seq))
    if (!this.calm && chances.happens(0.1)) {
      // Dropped: a re-check is owed, or was lost with the worker that owed it.
      if (chances.happens(0.7)) time.after(chances.below(1_500), () => node.sweepSoon(0))
      return
    }
    push()
    if (chances.happens(0.05)) push()
  }

  /** A device connects; a session that it has is replaced. The steps of open.ts, in its order. */
  connect(device: Device, node: Node): void {
    const { chances } = this
    const session = new SimulatedSession(this, node, device, undefined, chances.happens(0.2))
    device.session = session
    const here = [...node.sessions].find((other) => other.device === device)
    node.sessions.add(session)
    const replaced: SimulatedSession[] = []
    const list = (): void => {
      if (!session.closed) this.#list(session, replaced, () => this.#openDevice(session, replaced))
    }
    if (!here) {
      list()
      return
    }
    node.close(here)
    node.flush((written) => {
      if (written) replaced.push(here)
      list()
    })
  }

  #list(session: SimulatedSession, replaced: SimulatedSession[], then: () => void): void {
    this.#soon(() => {
      if (session.closed) return
      if (!this.sources.etcdUp) {
        session.node.sweepSoon(1_000)
        this.#listLater(session)
        return then()
      }
      this.#listNow(session)
      const elsewhere = this.nodes
        .filter((node) => node !== session.node)
        .flatMap((node) => [...node.sessions])
        .filter(
          (other) => other.device === session.device && other.listed !== undefined && other.listed < session.listed!,
        )
      let left = elsewhere.length
      if (left === 0) return then()
      for (const other of elsewhere) {
        this.#soon(() => {
          other.node.close(other)
          other.node.flush((written) => {
            if (written) replaced.push(other)
            this.#soon(() => --left === 0 && then())
          })
        })
      }
    })
  }

  #listNow(session: SimulatedSession): void {
    session.listed = ++this.#listings
    // The worker's mirror lags, now and then by more than the re-check waits.
    const lag = this.chances.happens(0.1) ? 4_000 : 300
    this.time.after(this.chances.below(lag), () => session.closed || this.#routed.add(session))
  }

  #listLater(session: SimulatedSession): void {
    this.time.after(500, () => {
      if (session.closed) return
      if (this.sources.etcdUp) this.#listNow(session)
      else this.#listLater(session)
    })
  }

  unlist(session: SimulatedSession): void {
    this.time.after(this.chances.below(500), () => this.#routed.delete(session))
  }

  /** Are there sessions of the node that nobody can push to? */
  unlistedAt(node: Node): boolean {
    return [...node.sessions].some(({ listed }) => listed === undefined)
  }

  #openDevice(session: SimulatedSession, replaced: readonly SimulatedSession[]): void {
    const { sources, chances } = this
    this.#soon(() => {
      if (session.closed) return
      if (!sources.logUp) return session.node.close(session)
      const found = sources.conversations.map((conversation) => ({
        conversation,
        cursor: sources.cursor(session.device.name, conversation),
      }))
      for (const older of replaced) this.#keptAcks(older, found)
      this.#soon(() => {
        if (session.closed) return
        const heads = found.map(({ conversation }) => conversation.head)
        this.#soon(() => {
          if (session.closed) return
          const resume = chances.happens(0.2)
          const positions = found.map(({ conversation, cursor }, i) => {
            session.startsAt(conversation, cursor)
            return { conversation: conversation.name, cursor, head: heads[i]!, joined: 0, floor: 0 }
          })
          session.begin(positions, { fromOldest: false, resume })
          this.time.after(resume ? chances.below(200) : 0, () => {
            if (session.closed) return
            if (resume) this.#resume(session, found)
            this.#showBacklog(session, session.open())
          })
        })
      })
    })
  }

  /** A replaced session whose acks were flushed: its successor's cursors have them. */
  #keptAcks(older: SimulatedSession, found: readonly { conversation: Conversation; cursor: number }[]): void {
    for (const { conversation, cursor } of found) {
      const acked = older.acked.get(conversation) ?? 0
      if (cursor < acked) throw new Broken(`a replaced session's ack of ${acked} was lost: the cursor is ${cursor}`)
    }
  }

  #resume(session: SimulatedSession, found: readonly { conversation: Conversation }[]): void {
    for (const { conversation } of found) {
      const cursor = this.chances.below(session.device.hasUpTo(conversation) + 1)
      session.resumeFrom(conversation.name, cursor)
      session.startsAt(conversation, session.positionOf(conversation.name)!)
    }
  }

  #showBacklog(session: SimulatedSession, [next, ...rest]: readonly string[]): void {
    if (next === undefined) {
      session.node.sweepSoon(RECHECK_MS)
      return
    }
    const conversation = this.sources.conversations.find(({ name }) => name === next)!
    session.repair(conversation, () => this.#showBacklog(session, rest))
  }

  /** The client acknowledges now and then, always the newest that it was shown. */
  onShown(session: SimulatedSession, conversation: Conversation, seq: number): void {
    if (!this.chances.happens(0.3)) return
    this.#soon(() => session.node.ack(session, conversation, seq))
  }

  /** A client that pages a gap some time later. */
  onGap(session: SimulatedSession, conversation: Conversation, from: number): void {
    if (!this.chances.happens(0.5)) return
    this.time.after(this.chances.below(3_000), () => {
      const page = session.closed ? undefined : this.sources.read(conversation, from - 1, 10)
      if (!page) return
      for (const { seq } of page.entries) session.device.gets(conversation, seq)
      for (const gone of page.voids) {
        for (let seq = gone.from; seq <= gone.to; seq++) session.device.gets(conversation, seq)
      }
      session.filled(conversation.name, from - 1, coveredTo(page, from - 1))
    })
  }

  moveCursor(device: Device, conversation: Conversation, seq: number): void {
    const before = this.sources.cursor(device.name, conversation)
    for (let covered = before + 1; covered <= seq; covered++) {
      if (!device.has(conversation, covered))
        throw new Broken(`an ack of ${seq} covers ${covered}, which was never shown`)
    }
    if (seq > before) this.sources.cursors.set(`${device.name} ${conversation.name}`, seq)
  }
}
