/** Keeps processes running: starts them, waits until they answer, starts them again when they die, ends them in order. */
import { EX_CONFIG } from '@tidings/service'
import { Failure, reasonOf } from './failure.js'
import { type Command, type Exit, launch, type Running } from './launch.js'
import { isRunning } from './process.js'
import { type Child, endInOrder } from './state.js'
import { didNotStart, untilReady } from './store.js'

/** One process to keep running. */
export interface Part {
  name: string
  instance: string
  ports: Record<string, number>
  log: string
  /** Writes to our own output instead of the log. */
  visible?: boolean
  /** How long it may take to answer after a start. */
  readyMs: number
  /** Runs before each start. */
  prepare?(): Promise<void>
  command(): Command
  /** Throws while it is not ready. */
  probe(): Promise<void>
  /** Tidies up after one that was ready and has died, before the next one is started. */
  buried?(): Promise<void>
}

interface Kept {
  part: Part
  running: Running
  child: Child
  startedAt: number
  /** Starts in a row that did not last. */
  failures: number
  /** Has it answered? */
  ready: boolean
}

/** What a supervisor tells and is told. */
export interface SupervisorOptions {
  say: (line: string) => void
  /** Called at once when the set of processes has changed. May throw: it is said. */
  changed: (children: Child[]) => void
  /** Called at the stop, when no app runs any more and the stores still do. */
  beforeStores?: () => Promise<void>
  /** Wait before the first restart in a row; it doubles up to ten seconds. */
  backoffMs?: number
  /** How long a first start that ends at once is tried again. */
  patienceMs?: number
}

/** Longer than a lease in etcd lasts: the listing of a process that died on another machine must run out first. */
const PATIENCE_MS = 12_000
const BACKOFF_MAX_MS = 10_000
/** A process that ran this long was well: its next death starts from the short wait again. */
const STABLE_MS = 30_000

/** The processes of one instance. */
export class Supervisor {
  readonly #kept = new Map<string, Kept>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #unburied = new Set<string>()
  /** Forked, or about to be, and not among those that are kept yet. */
  readonly #launching = new Set<Promise<unknown>>()
  readonly #backoffMs: number
  #stopping: Promise<void> | undefined

  constructor(private readonly options: SupervisorOptions) {
    this.#backoffMs = options.backoffMs ?? 100
  }

  /** The processes that were last started, each once. */
  get children(): Child[] {
    return [...this.#kept.values()].map((kept) => kept.child)
  }

  /**
   * Starts a process and waits until it answers; from then on it is kept running.
   * @throws Failure when it refuses its settings (status 78: trying again is no use), or does not come up
   */
  async start(part: Part): Promise<void> {
    const giveUpAt = Date.now() + (this.options.patienceMs ?? PATIENCE_MS)
    for (let waitMs = this.#backoffMs; ; waitMs = Math.min(waitMs * 2, 2_000)) {
      const kept = await this.#launch(part, 0)
      try {
        await untilReady(kept.running, () => part.probe(), part.readyMs)
        kept.ready = true
        void kept.running.exited.then((exit) => this.#died(kept, exit))
        return
      } catch (error) {
        if (this.#stopping) throw new Failure('interrupted')
        const exit = await Promise.race([kept.running.exited, undefined])
        if (exit?.code === EX_CONFIG) {
          const line = kept.running.lastLines(1)[0] ?? `${part.instance} refuses its settings.`
          throw new Failure(line, { exitCode: EX_CONFIG })
        }
        if (!exit || Date.now() + waitMs > giveUpAt)
          throw didNotStart(part, kept.running, exit ? describe(exit) : reasonOf(error), error)
        this.options.say(`${part.instance} ended with ${describe(exit)}; trying again (log: ${part.log})`)
        await this.#pause(waitMs)
      }
    }
  }

  /** A wait that the stop cuts short. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        resolve()
      }, ms)
      this.#timers.add(timer)
    })
  }

  /** Ends everything, in order. May be called twice. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    await Promise.allSettled(this.#launching)
    await endInOrder(this.children, this.options.say, this.options.beforeStores)
  }

  async #launch(part: Part, failures: number): Promise<Kept> {
    if (this.#stopping) throw new Failure('interrupted')
    await part.prepare?.()
    if (this.#stopping) throw new Failure('interrupted')
    const noted = this.#launchNow(part, failures)
    this.#launching.add(noted)
    try {
      return await noted
    } finally {
      this.#launching.delete(noted)
    }
  }

  async #launchNow(part: Part, failures: number): Promise<Kept> {
    const running = await launch(part.command(), part.log, { visible: part.visible === true })
    const child: Child = { name: part.name, instance: part.instance, ...running.who, ports: part.ports }
    const kept: Kept = { part, running, child, startedAt: Date.now(), failures, ready: false }
    this.#kept.set(part.instance, kept)
    this.#note()
    return kept
  }

  /** A list that cannot be written down (a full disk) must not undo the launch: the process runs, and we know it. */
  #note(): void {
    try {
      this.options.changed(this.children)
    } catch (error) {
      this.options.say(`what runs could not be written down (${reasonOf(error)}): status and stop do not see all of it`)
    }
  }

  #died(kept: Kept, exit: Exit): void {
    if (this.#stopping) return
    const { part } = kept
    const failures = Date.now() - kept.startedAt >= STABLE_MS ? 0 : kept.failures
    const waitMs = Math.min(BACKOFF_MAX_MS, this.#backoffMs * 2 ** failures)
    this.options.say(
      `${part.instance} (pid ${kept.child.pid}) ended with ${describe(exit)}; starting it again in ${waitMs} ms (log: ${part.log})`,
    )
    void this.#again(kept, failures, waitMs)
  }

  async #again(kept: Kept, failures: number, waitMs: number): Promise<void> {
    const { part } = kept
    await this.#pause(waitMs)
    if (this.#stopping) return
    await this.#bury(kept)
    await this.#restart(part, failures + 1)
  }

  /** Tried before every restart until it works: etcd may have died at the same moment. */
  async #bury({ part, ready }: Kept): Promise<void> {
    if (ready) this.#unburied.add(part.instance)
    if (!part.buried || !this.#unburied.has(part.instance)) return
    try {
      await part.buried()
      this.#unburied.delete(part.instance)
    } catch (error) {
      this.options.say(`${part.instance} is still listed in etcd (${reasonOf(error)})`)
    }
  }

  async #restart(part: Part, failures: number): Promise<void> {
    let kept: Kept
    try {
      kept = await this.#launch(part, failures)
    } catch (error) {
      if (this.#stopping) return
      this.options.say(`${part.instance} cannot be started: ${reasonOf(error)}`)
      await this.#pause(BACKOFF_MAX_MS)
      return this.#restart(part, failures + 1)
    }
    void kept.running.exited.then((exit) => this.#died(kept, exit))
    try {
      await untilReady(kept.running, () => part.probe(), part.readyMs)
      kept.ready = true
      this.options.say(`${part.instance} is back (pid ${kept.child.pid})`)
    } catch (error) {
      // One that ended is started again by #died; one that runs but does not answer is shown by status and its log.
      if (!this.#stopping && isRunning(kept.child))
        this.options.say(`${part.instance} does not answer yet: ${reasonOf(error)}`)
    }
  }
}

function describe(exit: Exit): string {
  return exit.signal ? `signal ${exit.signal}` : `status ${exit.code}`
}
