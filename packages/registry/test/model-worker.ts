/**
 * A model of a task worker, for the simulator of partition ownership: it watches, keeps its lease, sleeps past it, crashes and stops.
 * Only claims.ts is the real thing.
 */
import type { Chances, SimulatedTime } from '@tidings/service/simulation'
import { Claims, type ClaimsEffect, type ClaimsEvent, sharing } from '../src/index.js'
import { type Etcd, type Fences, LEASE_MS, type Planted } from './model-stores.js'

const TICK_MS = 1_000
const KEEPALIVE_MS = 1_000
const REPLY_MS = 200

export interface Surroundings {
  time: SimulatedTime
  chances: Chances
  etcd: Etcd
  fences: Fences
  partitions: number
  planted: Planted
  /** Replies may be lost. */
  lossy: boolean
}

/** One run of a worker: a restart is another run, under the same name. */
export class Worker {
  readonly claims: Claims
  /** Partition to the fence under which the consumer works. */
  readonly working = new Map<number, number>()
  alive = true
  stopping = false
  #lease = 0
  #lastKept = 0
  #asleepUntil = 0
  /** What came while it slept. */
  #waiting: (() => void)[] = []
  /** `next` is a place in etcd's history. */
  #watch: { life: number; next: number } | undefined
  #listingVersion = -1
  #hearing = false

  constructor(
    private readonly world: Surroundings,
    readonly name: string,
  ) {
    this.claims = new Claims(name, world.partitions)
    this.#join()
  }

  get asleep(): boolean {
    return this.world.time.now < this.#asleepUntil
  }

  sleep(ms: number): void {
    const { time } = this.world
    this.#asleepUntil = time.now + ms
    time.after(ms, () => this.#wake())
  }

  #wake(): void {
    if (this.asleep) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const run of waiting) this.#run(run)
  }

  #run(run: () => void): void {
    if (!this.alive) return
    if (this.asleep) this.#waiting.push(run)
    else run()
  }

  #later(ms: number, run: () => void): void {
    this.world.time.after(ms, () => this.#run(run))
  }

  /** A moment on the network. */
  #soon(run: () => void): void {
    this.#later(1 + this.world.chances.below(20), run)
  }

  #every(ms: number, run: () => void): void {
    this.#later(ms, () => {
      run()
      this.#every(ms, run)
    })
  }

  kill(): void {
    this.alive = false
    this.working.clear()
  }

  /** A clean stop: off the list, then the partitions one by one, then the lease. */
  stop(): void {
    this.stopping = true
    if (this.world.etcd.up) this.world.etcd.unlist(this.name)
    this.#on({ type: 'stop' })
    this.#endWhenStopped()
  }

  #endWhenStopped(): void {
    if (!this.stopping || !this.claims.stopped || !this.alive) return
    this.kill()
    if (this.world.etcd.up) this.world.etcd.revoke(this.#lease)
  }

  #join(): void {
    const { etcd, chances } = this.world
    const later = (): void => this.#later(500, () => this.#join())
    if (!etcd.up) {
      later()
      return
    }
    // announce(): the name of a run that died counts until its lease ends, or its process is seen to be gone.
    const other = etcd.listings.get(this.name)
    if (other !== undefined && chances.happens(0.5)) {
      later()
      return
    }
    this.#grant()
    this.#every(TICK_MS, () => this.#on({ type: 'tick' }))
    this.#every(KEEPALIVE_MS, () => this.#keepAlive())
    this.#read()
    this.onChange()
  }

  #grant(): void {
    const { etcd, time } = this.world
    this.#lease = etcd.grant()
    this.#lastKept = time.now
    etcd.list(this.name, this.#lease)
    this.#on({ type: 'leased', lease: String(this.#lease) })
  }

  #keepAlive(): void {
    const { etcd, time } = this.world
    if (!etcd.up || this.stopping) return
    const lost = !etcd.leases.has(this.#lease) || time.now - this.#lastKept > LEASE_MS
    if (lost) {
      this.#grant()
      return
    }
    etcd.leases.set(this.#lease, time.now + LEASE_MS)
    this.#lastKept = time.now
  }

  /** Something changed in etcd: a moment later this worker hears of it. */
  onChange(): void {
    if (this.#hearing) return
    this.#hearing = true
    this.#later(2 + this.world.chances.below(35), () => {
      this.#hearing = false
      this.#hearListings()
      this.#hearChanges()
    })
  }

  /** The list of workers as it is now: a watch may lag, but never goes back. */
  #hearListings(): void {
    const { etcd } = this.world
    if (!etcd.up || etcd.listingVersion === this.#listingVersion) return
    this.#listingVersion = etcd.listingVersion
    const serving = [...etcd.listings.keys()].map((name) => ({ name, unable: etcd.unable.has(name) }))
    this.#on({ type: 'workers', ...sharing(this.name, serving) })
  }

  /** The watch: all changes, in order, some of them later. */
  #hearChanges(): void {
    const { etcd, chances } = this.world
    if (!this.#watch) return
    if (!etcd.up || etcd.life !== this.#watch.life) {
      this.#watch = undefined
      this.#read()
      return
    }
    while (this.alive && this.#watch.next < etcd.history.length && chances.happens(0.8)) {
      const { partition, revision, key } = etcd.history[this.#watch.next++]!
      this.#on(key ? { type: 'named', partition, ...key, revision } : { type: 'unnamed', partition, revision })
    }
    if (this.#watch.next < etcd.history.length) this.onChange()
  }

  loseWatch(): void {
    if (!this.#watch) return
    this.#watch = undefined
    this.#run(() => this.#read())
  }

  /** A range read: what it tells is as old as the reply, and the watch goes on from there. */
  #read(): void {
    this.#soon(() => {
      const { etcd } = this.world
      if (!etcd.up) return this.#later(500, () => this.#read())
      const named = new Map([...etcd.keys].map(([partition, key]) => [partition, { ...key }]))
      const { revision, life } = etcd
      const next = etcd.history.length
      this.#soon(() => {
        this.#on({ type: 'read', named, revision })
        this.#watch = { life, next }
        this.onChange()
      })
    })
  }

  #on(event: ClaimsEvent): void {
    if (this.world.planted.deafToRefusals && event.type === 'refused') event = { ...event, by: 0 }
    for (const effect of this.claims.on(event)) this.#perform(effect)
    this.#endWhenStopped()
  }

  #perform(effect: ClaimsEffect): void {
    const { partition } = effect
    switch (effect.type) {
      case 'claim':
        this.#claim(effect)
        break
      case 'raise':
        this.#raise(partition, effect.fence)
        break
      case 'own':
        this.#own(partition, effect.fence)
        break
      case 'release':
        this.working.delete(partition)
        this.#soon(() => this.#on({ type: 'released', partition }))
        break
      case 'unlist':
        this.#unlist(effect)
        break
    }
  }

  /** A call: it reaches the other side or not, and its answer comes back or not. */
  #call<T>(reaches: () => T | undefined, answered: (reply: T) => void, failed: () => void): void {
    const { time, chances } = this.world
    const lost = this.world.lossy && chances.happens(0.05)
    time.after(1 + chances.below(20), () => {
      const reply = reaches()
      if (reply === undefined || lost) this.#later(REPLY_MS, failed)
      else this.#soon(() => answered(reply))
    })
  }

  #claim({ type: _, ...claim }: Extract<ClaimsEffect, { type: 'claim' }>): void {
    const { etcd } = this.world
    const { partition, expected, fence } = claim
    const lease = this.#lease
    this.#call<ClaimsEvent>(
      () => {
        if (!etcd.up || !etcd.leases.has(lease)) return undefined
        const there = etcd.keys.get(partition)
        if ((there?.revision ?? 0) !== expected) {
          return { type: 'claim-lost', claim, found: there && { ...there }, revision: etcd.revision }
        }
        const revision = etcd.put(partition, { owner: this.name, fence, lease })
        return { type: 'claimed', claim, revision, lease: String(lease) }
      },
      (answer) => this.#on(answer),
      () => this.#on({ type: 'claim-failed', claim }),
    )
  }

  #unlist({ partition, revision, reading }: Extract<ClaimsEffect, { type: 'unlist' }>): void {
    const { etcd } = this.world
    this.#call<ClaimsEvent>(
      () => {
        if (!etcd.up) return undefined
        const there = etcd.keys.get(partition)
        const found = there?.revision === revision ? undefined : there && { ...there }
        if (there && !found) etcd.delete(partition)
        return { type: 'unlisted', partition, found, revision: etcd.revision, reading }
      },
      (answer) => this.#on(answer),
      () => this.#on({ type: 'unlist-failed', partition }),
    )
  }

  #raise(partition: number, fence: number): void {
    const { fences } = this.world
    this.#call<ClaimsEvent>(
      () => {
        if (!fences.redisUp) return undefined
        const by = fences.raise(partition, fence)
        return by === undefined ? { type: 'raised', partition, fence } : { type: 'refused', partition, fence, by }
      },
      (answer) => this.#on(answer),
      () => this.#on({ type: 'raise-failed', partition }),
    )
  }

  /** The consumer: pushes and settles again and again until it stops or is refused. */
  #own(partition: number, fence: number): void {
    this.world.fences.given(this, partition, fence)
    this.working.set(partition, fence)
    this.#work(partition, fence)
  }

  #work(partition: number, fence: number): void {
    const { fences, chances } = this.world
    const mine = (): boolean => this.working.get(partition) === fence
    this.#later(50 + chances.below(1_500), () => {
      if (!mine()) return
      this.#call<{ by: number | undefined }>(
        () => {
          const by = fences.push(partition, fence)
          if (by !== undefined) return { by }
          return fences.redisUp ? { by: fences.settle(this, partition, fence) } : undefined
        },
        ({ by }) => {
          if (!mine()) return
          if (by === undefined) return this.#work(partition, fence)
          this.working.delete(partition)
          this.#on({ type: 'refused', partition, fence, by })
        },
        () => this.#work(partition, fence),
      )
    })
  }
}
