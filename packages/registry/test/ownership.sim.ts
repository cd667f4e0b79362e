/**
 * The simulator of partition ownership: claims.ts in a model of everything else, under faults, and then in quiet. As a command:
 * `node packages/registry/dist/test/ownership.sim.js --schedules 1000000 --seed 1`
 */
import { fileURLToPath } from 'node:url'
import { createChances, runAsCommand, SimulatedTime } from '@tidings/service/simulation'
import { Broken, Etcd, Fences, LEASE_MS, type Planted } from './model-stores.js'
import { type Surroundings, Worker } from './model-worker.js'

const FAULTS = 6
const NAMES = ['a', 'b', 'c', 'd'] as const
/** Replies, ticks and a lost reply or two: what a takeover may take beyond the lease. */
const SETTLING_MS = 5_000
const AT_ONCE_MS = 1_500

/** One schedule. @returns what broke, or undefined */
export function runOwnership(seed: number, planted: Planted = {}): string | undefined {
  try {
    new Ownerships(seed, planted).run()
    return undefined
  } catch (error) {
    if (error instanceof Broken) return error.message
    throw error
  }
}

class Ownerships {
  readonly #world: Surroundings
  readonly #workers = new Map<string, Worker>()

  constructor(seed: number, planted: Planted) {
    const chances = createChances(seed)
    const time = new SimulatedTime()
    const partitions = 2 + chances.below(4)
    const etcd = new Etcd(time, () => {
      for (const worker of this.#workers.values()) worker.onChange()
    })
    this.#world = { time, chances, etcd, partitions, planted, fences: new Fences(partitions, planted), lossy: true }
    // Revisions of an etcd that has lived for a while.
    etcd.revision = 1 + chances.below(3) * 1_000
    this.#expiry()
    for (const name of NAMES.slice(0, 2 + chances.below(3))) this.#start(name)
  }

  run(): void {
    const { time, chances, etcd } = this.#world
    for (let i = 0; i < FAULTS; i++) {
      time.pass(chances.below(2_000))
      this.#fault()
    }
    this.#quiet()
    this.#check('after the faults')
    const before = this.#owners()
    if (chances.happens(0.3)) {
      etcd.stop()
      time.pass(2 * LEASE_MS)
      if (this.#owners() !== before)
        throw new Broken(`owners changed while etcd was away: ${before}, then ${this.#owners()}`)
      etcd.start(chances.happens(0.5))
      time.pass(LEASE_MS + SETTLING_MS)
      this.#check('after etcd came back')
    } else if (this.#alive().length > 1) {
      const leaver = chances.pick(this.#alive())
      leaver.stop()
      time.pass(AT_ONCE_MS)
      this.#check(`at once after ${leaver.name} stopped`)
    }
    const after = this.#owners()
    time.pass(2_000)
    if (this.#owners() !== after) throw new Broken(`give and take: ${after}, then ${this.#owners()}`)
  }

  #start(name: string): void {
    this.#workers.set(name, new Worker(this.#world, name))
  }

  #alive(): Worker[] {
    return [...this.#workers.values()].filter((worker) => worker.alive && !worker.stopping)
  }

  #expiry(): void {
    this.#world.time.after(500, () => {
      this.#world.etcd.expire()
      this.#expiry()
    })
  }

  /** One of the faults, some of them more often than others. */
  #fault(): void {
    const { time, chances, etcd, fences } = this.#world
    const name = chances.pick([...this.#workers.keys()])
    const worker = this.#workers.get(name)!
    const sleeps = (): void => worker.sleep(chances.below(2 * LEASE_MS))
    const etcdAway = (): void => {
      if (!etcd.up) return
      etcd.stop()
      time.after(chances.below(2 * LEASE_MS), () => etcd.start(chances.happens(0.5)))
    }
    const dies = (): void => {
      worker.kill()
      time.after(chances.below(5_000), () => this.#restart(name))
    }
    const stops = (): void => {
      if (worker.alive && !worker.asleep && !worker.stopping) worker.stop()
      time.after(chances.below(5_000), () => this.#restart(name))
    }
    const redisAway = (): void => {
      fences.redisUp = false
      time.after(chances.below(2_000), () => {
        fences.redisUp = true
      })
    }
    const joins = (): void => {
      if (this.#workers.size < NAMES.length) this.#start(NAMES[this.#workers.size]!)
    }
    const losesWatch = (): void => worker.loseWatch()
    const unable = (): void => {
      etcd.sayAble(name, false)
      time.after(chances.below(2 * LEASE_MS), () => etcd.sayAble(name, true))
    }
    chances.pick([dies, sleeps, sleeps, stops, etcdAway, etcdAway, losesWatch, redisAway, joins, unable])()
  }

  /** The same name again, when the run before it is gone. */
  #restart(name: string): void {
    const worker = this.#workers.get(name)!
    if (!worker.alive) this.#start(name)
    else if (worker.stopping) this.#world.time.after(500, () => this.#restart(name))
  }

  /** All faults are over, all workers are awake. */
  #quiet(): void {
    const { time } = this.#world
    time.pass(2 * LEASE_MS)
    this.#world.lossy = false
    for (const name of this.#workers.keys()) this.#world.etcd.sayAble(name, true)
    for (const [name, worker] of this.#workers) if (!worker.alive) this.#start(name)
    time.pass(LEASE_MS + SETTLING_MS)
  }

  #owners(): string {
    return [...this.#workers.values()]
      .map((worker) => `${worker.name}: ${[...worker.working.keys()].sort().join(' ')}`)
      .join(', ')
  }

  /** Every partition has exactly one owner, whom etcd names, and the shares are even. */
  #check(when: string): void {
    const { partitions, etcd } = this.#world
    const alive = this.#alive()
    for (let partition = 0; partition < partitions; partition++) {
      const owners = alive.filter((worker) => worker.working.has(partition))
      if (owners.length !== 1) {
        throw new Broken(`${when} partition ${partition} has ${owners.length} owners (${this.#owners()})`)
      }
      const key = etcd.keys.get(partition)
      if (key?.owner !== owners[0]!.name || key.fence !== owners[0]!.working.get(partition)) {
        throw new Broken(
          `${when} etcd names ${key?.owner ?? 'nobody'} for ${partition}, which ${owners[0]!.name} works on`,
        )
      }
    }
    const shares = alive.map((worker) => worker.working.size)
    if (Math.max(...shares) - Math.min(...shares) > 1) throw new Broken(`${when} shares are ${this.#owners()}`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  runAsCommand('ownership', (seed) => runOwnership(seed), process.argv.slice(2))
}
