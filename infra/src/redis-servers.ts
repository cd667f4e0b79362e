/** Several Redis servers that belong together, for tests: one folder, free ports, one end. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PortPicker } from './ports.js'
import { redis } from './redis.js'
import { type Place, type RunningStore, type Store, startStore } from './store.js'
import { placeOf, type StartOptions } from './stores.js'

export interface RedisServers {
  /** Starts a server. @param more arguments of redis-server, made anew for each port that is tried */
  start(name: string, more?: () => Promise<string[]>): Promise<RunningStore>
  /** Starts what the description says, in a place of its own. */
  startAs(name: string, describe: (place: Place, port: number) => Store): Promise<RunningStore>
  freePort(): Promise<number>
  /** Ends what was started with them. */
  onStop(end: () => Promise<void>): void
  /** Ends them all and removes their data. May be called twice. */
  stop(): Promise<void>
}

/** @param options `dir`: their folder, which stays; by default a fresh one below the temp folder, which stop() removes */
export function redisServers(options: Pick<StartOptions, 'dir' | 'programs' | 'durable'>): RedisServers {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'tidings-redis-'))
  // The stores' account has to pass through it.
  if (options.dir === undefined) chmodSync(dir, 0o755)
  const picker = new PortPicker()
  const ends: (() => Promise<void>)[] = []
  const place = async (name: string): Promise<Place> => {
    const own = join(dir, name)
    mkdirSync(own, { recursive: true, mode: 0o755 })
    const programs = options.programs ? { programs: options.programs } : {}
    return (await placeOf('redis', { dir: own, durable: options.durable === true, ...programs })).place
  }

  async function run(describe: () => Promise<Store>): Promise<RunningStore> {
    const running = await startStore(describe, () => undefined)
    ends.push(async () => {
      // A frozen server does not hear that it is to end.
      running.thaw()
      await running.stop()
    })
    return running
  }

  return {
    async start(name, more = async () => []) {
      const own = await place(name)
      // Redis waits 5 s for further replicas before it sends its data to one.
      const config = ['--repl-diskless-sync-delay', '0']
      return await run(async () => redis(own, await picker.any(), [...config, ...(await more())]))
    },
    async startAs(name, describe) {
      const own = await place(name)
      return await run(async () => describe(own, await picker.any()))
    },
    freePort: () => picker.any(),
    onStop: (end) => void ends.push(end),
    async stop() {
      await Promise.all(ends.map((end) => end()))
      if (options.dir === undefined) rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** Waits for a fact about servers that find each other by themselves. */
export async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000
  while (!(await check())) {
    if (performance.now() > end) throw new Error(`never came true: ${what}`)
    await sleep(50)
  }
}
