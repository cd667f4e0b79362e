/** What the three stores have in common: a folder, ports, a command, and a round trip that proves them ready. */
import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Account } from './account.js'
import { Failure, reasonOf } from './failure.js'
import { type Command, launch, type Running } from './launch.js'
import { isFree } from './ports.js'
import { end, signal } from './process.js'
import type { Programs, StoreName } from './programs.js'

/** Where a store lives. */
export interface Place {
  programs: Programs
  /** The store's own folder. */
  folder: string
  /** File that its output goes to. */
  log: string
  account?: Account | undefined
  /** Durability given up for speed: for tests. */
  fast?: boolean
}

/** One store, described: nothing runs yet. */
export interface Store {
  name: StoreName
  /** How clients reach it; may hold a password. */
  url: string
  ports: Record<string, number>
  /** Where its data are. */
  folder: string
  log: string
  /** Makes the data folder when there is none. */
  prepare(): Promise<void>
  command(): Command
  /** One real round trip. Throws while the store is not ready. */
  probe(): Promise<void>
}

/** A store that runs, for tests that start and kill their own. */
export interface RunningStore {
  name: StoreName
  url: string
  port: number
  readonly pid: number
  /** Ends it in order. May be called twice. */
  stop(): Promise<void>
  /** Ends it as a crash does. Resolves when the process is gone. */
  kill(): Promise<void>
  /** Freezes it (SIGSTOP) and wakes it (SIGCONT): a store that hangs. */
  freeze(): void
  thaw(): void
  /** Starts it again on the same port and data, after stop() or kill(). */
  restart(): Promise<void>
  /** Removes its data, after kill(): it restarts empty. */
  wipe(): Promise<void>
}

/** Longest time a store may take to answer; recovery after a crash reads its whole log first. */
export const STORE_READY_MS = 120_000

/** Waits until the check passes. Fails at once when the process has ended, and when the time is up. */
export async function untilReady(running: Running, check: () => Promise<void>, deadlineMs: number): Promise<void> {
  const deadline = Date.now() + deadlineMs
  let ended = false
  running.exited.then(() => {
    ended = true
  })
  for (let wait = 10; ; wait = Math.min(wait * 1.5, 200)) {
    try {
      await check()
      return
    } catch (error) {
      if (ended) throw new Failure('it ended', { cause: error })
      if (Date.now() > deadline)
        throw new Failure(`no answer within ${Math.round(deadlineMs / 1000)} s: ${reasonOf(error)}`, { cause: error })
    }
    await Promise.race([sleep(wait), running.exited])
  }
}

/**
 * Starts a store that ends with this process. A port that someone else took between the look and the start is
 * replaced.
 * @param describe makes the description for fresh ports
 * @param remove called after stop()
 */
export async function startStore(describe: () => Promise<Store>, remove: () => void): Promise<RunningStore> {
  for (let attempt = 1; ; attempt++) {
    const store = await describe()
    await store.prepare()
    const running = await launch(store.command(), store.log, { tied: true })
    try {
      await untilReady(running, () => store.probe(), STORE_READY_MS)
      return handleOf(store, running, remove)
    } catch (error) {
      await end(running.who, 0)
      const taken = (await Promise.all(Object.values(store.ports).map((port) => isFree(port)))).includes(false)
      if (taken && attempt < 4) continue
      throw didNotStart({ instance: store.name, log: store.log }, running, reasonOf(error), error)
    }
  }
}

/** The sentence for a process that does not come up, with its last words. */
export function didNotStart(
  who: { instance: string; log: string },
  running: Running,
  why: string,
  cause: unknown,
): Failure {
  const lines = running
    .lastLines(5)
    .map((line) => `\n  ${line}`)
    .join('')
  return new Failure(
    `${who.instance} did not come up (${why}); its log is ${who.log}${lines ? ` and ends with:${lines}` : '.'}`,
    { cause },
  )
}

/** Stores to end with us: where the system cannot tie a child to its parent, this still catches most ends. */
const tied = new Set<() => void>()
process.on('exit', () => {
  for (const killNow of tied) killNow()
})

function handleOf(store: Store, first: Running, remove: () => void): RunningStore {
  let running = first
  const killNow = (): void => void signal(running.who, 'SIGKILL')
  tied.add(killNow)
  return {
    name: store.name,
    url: store.url,
    port: store.ports.client!,
    get pid() {
      return running.who.pid
    },
    async stop() {
      await end(running.who, 10_000)
      tied.delete(killNow)
      remove()
    },
    async kill() {
      await end(running.who, 5_000, 'SIGKILL')
      await running.exited
    },
    freeze: () => void signal(running.who, 'SIGSTOP'),
    thaw: () => void signal(running.who, 'SIGCONT'),
    async wipe() {
      rmSync(store.folder, { recursive: true, force: true, maxRetries: 3 })
      await store.prepare()
    },
    async restart() {
      running = await launch(store.command(), store.log, { tied: true })
      tied.add(killNow)
      await untilReady(running, () => store.probe(), STORE_READY_MS).catch((error: unknown) => {
        throw didNotStart({ instance: store.name, log: store.log }, running, reasonOf(error), error)
      })
    },
  }
}
