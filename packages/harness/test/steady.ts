/** An open-loop load: what falls due by the clock is sent, whatever became of the sends before it, so that an outage costs what it costs users. */
import type { Test } from 'tap'
import { type Sent, type TestUser, until, type World } from '../src/index.js'
import { Device, sendUntilAccepted } from './load.js'

const TICK_MS = 5
/** A node looks for missed entries once, 2 s after a session has opened: what it finds then nobody pushed. */
const LOOKED_MS = 3_000

interface Pair {
  from: TestUser
  to: TestUser
  devices: Device[]
}

interface Send {
  clientId: string
  pair: Pair
  dueAt: number
  accepted?: Sent
  acceptedAt: number
  /** When the last of the receiver's devices had shown it. */
  shownAt: number
}

/** What a while of the load was like. */
export interface Figures {
  seconds: number
  offered: number
  accepted: number
  /** From the beginning of the while until a message of each conversation that fell due after it was shown on all its devices. */
  recoveryMs: number
  /** The longest time from a message's time to its showing on its last device. */
  longestMs: number
}

export class SteadyLoad {
  readonly #sends: Send[] = []
  readonly #waiting = new Set<Send>()
  readonly #told = new Set<number>()
  readonly #timer: NodeJS.Timeout
  readonly #began = performance.now()
  #failure: unknown
  /** The longest time from a message's time to its showing, before anything was harmed. */
  calmMs = 0

  private constructor(
    private readonly w: World,
    private readonly pairs: readonly Pair[],
    readonly perSecond: number,
  ) {
    this.#timer = setInterval(() => this.#sendDue(), TICK_MS)
  }

  /** @param conversations each of two users of its own; the receiver has a device on the first and on the last node */
  static async start(t: Test, w: World, perSecond: number, conversations: number): Promise<SteadyLoad> {
    const pairs: Pair[] = []
    for (let i = 0; i < conversations; i++) {
      const [from, to] = [await w.user(), await w.user()]
      const devices = [new Device(w, to, 'phone', 0), new Device(w, to, 'laptop', w.connects.length - 1)]
      t.teardown(() => Promise.all(devices.map((device) => device.stop())))
      pairs.push({ from, to, devices })
    }
    await until('the devices are there', () =>
      pairs.every(({ devices }) =>
        devices.every(({ current }) => current?.frames.some(({ op }) => op === 'synced') ?? false),
      ),
    )
    const load = new SteadyLoad(w, pairs, perSecond)
    t.teardown(() => clearInterval(load.#timer))
    await load.through(load.#began + LOOKED_MS)
    load.calmMs = load.#figures(load.#began + LOOKED_MS / 2, performance.now()).longestMs
    return load
  }

  #sendDue(): void {
    const interval = 1_000 / this.perSecond
    for (;;) {
      const dueAt = this.#began + this.#sends.length * interval
      if (dueAt > performance.now()) return
      void this.#send(dueAt).catch((error: unknown) => {
        this.#failure ??= error
      })
    }
  }

  async #send(dueAt: number): Promise<void> {
    const i = this.#sends.length
    const pair = this.pairs[i % this.pairs.length]!
    const send: Send = { clientId: `m-${i}`, pair, dueAt, acceptedAt: Number.NaN, shownAt: Number.NaN }
    this.#sends.push(send)
    this.#waiting.add(send)
    send.accepted = await sendUntilAccepted(this.w, pair.from, pair.to, i, this.#told)
    send.acceptedAt = performance.now()
  }

  /** Is everything that was due until then accepted, and shown on every device? */
  #isThrough(due: number): boolean {
    if (this.#failure !== undefined) throw this.#failure
    for (const send of this.#waiting) {
      const shown = send.pair.devices.map(({ shownAt }) => shownAt.get(send.clientId))
      if (!send.accepted || shown.includes(undefined)) continue
      send.shownAt = Math.max(...shown.map(Number))
      this.#waiting.delete(send)
    }
    const [first] = this.#waiting
    return performance.now() > due && (!first || first.dueAt > due)
  }

  /** Resolves when everything that was due until then is accepted and shown. */
  async through(due: number): Promise<void> {
    await until('all that was due is accepted and shown', () => this.#isThrough(due), 60_000)
  }

  /** Kills while it goes on, waits until delivery is back, revives, and until all is well again. */
  async during(kill: () => Promise<void>, revive: () => Promise<void>): Promise<Figures> {
    const from = performance.now()
    await kill()
    await this.through(from + 1_000)
    await revive()
    await this.through(performance.now())
    return this.#figures(from, performance.now())
  }

  #figures(from: number, to: number): Figures {
    const within = (at: number): boolean => at >= from && at < to
    const due = this.#sends.filter(({ dueAt }) => within(dueAt))
    const shown = due.filter(({ shownAt }) => !Number.isNaN(shownAt))
    const firstShown = this.pairs.map((of) =>
      Math.min(...shown.filter(({ pair }) => pair === of).map(({ shownAt }) => shownAt)),
    )
    return {
      seconds: (to - from) / 1_000,
      offered: due.length,
      accepted: this.#sends.filter(({ acceptedAt }) => within(acceptedAt)).length,
      recoveryMs: Math.max(...firstShown) - from,
      longestMs: Math.max(...shown.map(({ dueAt, shownAt }) => shownAt - dueAt)),
    }
  }

  /** Ends it, and compares: each send has one seq, each conversation has no hole, every device showed all of it once, MySQL has it. */
  async finish(t: Test): Promise<void> {
    clearInterval(this.#timer)
    await this.through(this.#sends.at(-1)!.dueAt)
    for (const { to, devices } of this.pairs) {
      const sent = this.#sends.filter(({ pair }) => pair.to === to)
      const all = sent.map(({ clientId, accepted }) => ({ seq: accepted!.seq, clientId }))
      all.sort((a, b) => a.seq - b.seq)
      t.same(
        all.map(({ seq }) => seq),
        all.map((_, i) => i + 1),
        'each send has a seq of its own, without a hole',
      )
      for (const device of devices) t.same(device.shown, all, 'every device showed each once, in order')
      const { conversation } = sent[0]!.accepted!
      await until('MySQL has all', async () => (await this.#stored(conversation)).length >= all.length)
      t.same(await this.#stored(conversation), all, 'MySQL has the same')
    }
    await Promise.all(this.pairs.flatMap(({ devices }) => devices.map((device) => device.stop())))
  }

  #stored(conversation: string): Promise<{ seq: number; clientId: string }[]> {
    const sql = 'SELECT seq, client_id AS clientId FROM entries WHERE conversation = ? ORDER BY seq'
    return this.w.store.use(async (db) =>
      (await db.select<{ seq: number; clientId: string }>(sql, [conversation])).map(({ seq, clientId }) => ({
        seq: Number(seq),
        clientId,
      })),
    )
  }
}
