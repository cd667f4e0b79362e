/** A model of the stores that partition ownership relies on: etcd with leases, revisions and a history, and fences. */
import type { SimulatedTime } from '@tidings/service/simulation'

export const LEASE_MS = 3_000

interface Key {
  owner: string
  fence: number
  revision: number
  lease: number
}

type Change = { partition: number; revision: number; key: { owner: string; fence: number } | undefined }

/** What breaks the rules is thrown as this. */
export class Broken extends Error {}

/** Deliberate faults, to show that the simulator finds them. */
export interface Planted {
  /** Redis takes a fence that is not higher. */
  anyFence?: boolean
  /** A refused owner claims again with the next revision only. */
  deafToRefusals?: boolean
}

export class Etcd {
  up = true
  revision = 1
  /** Counts how often it lost all data. */
  life = 0
  readonly keys = new Map<number, Key>()
  readonly listings = new Map<string, number>()
  /** Whose listing says that it cannot serve the group now. */
  readonly unable = new Set<string>()
  /** Lease to the moment when it ends. */
  readonly leases = new Map<number, number>()
  history: Change[] = []
  listingVersion = 0
  #lease = 0

  constructor(
    private readonly time: SimulatedTime,
    /** Something changed, or etcd came or went. */
    private readonly onChange: () => void,
  ) {}

  grant(): number {
    this.leases.set(++this.#lease, this.time.now + LEASE_MS)
    return this.#lease
  }

  put(partition: number, key: Omit<Key, 'revision'>): number {
    this.keys.set(partition, { ...key, revision: ++this.revision })
    this.history.push({ partition, revision: this.revision, key: { owner: key.owner, fence: key.fence } })
    this.onChange()
    return this.revision
  }

  delete(partition: number): number {
    this.keys.delete(partition)
    this.history.push({ partition, revision: ++this.revision, key: undefined })
    this.onChange()
    return this.revision
  }

  list(name: string, lease: number): void {
    this.listings.set(name, lease)
    this.revision++
    this.#listingsChanged()
  }

  unlist(name: string): void {
    if (this.listings.delete(name)) this.#listingsChanged()
  }

  /** Ends what has run out; etcd looks every half second. */
  expire(): void {
    if (!this.up) return
    for (const [lease, end] of this.leases) if (end <= this.time.now) this.revoke(lease)
  }

  revoke(lease: number): void {
    this.leases.delete(lease)
    for (const [partition, key] of this.keys) if (key.lease === lease) this.delete(partition)
    for (const [name, of] of this.listings) if (of === lease) this.unlist(name)
  }

  stop(): void {
    this.up = false
    this.onChange()
  }

  /** It is there again: leases begin anew. @param wiped without its data, and with revisions from 1 on */
  start(wiped: boolean): void {
    this.up = true
    if (wiped) {
      this.life++
      this.revision = 1
      this.history = []
      this.keys.clear()
      this.leases.clear()
      this.listings.clear()
    }
    for (const lease of this.leases.keys()) this.leases.set(lease, this.time.now + LEASE_MS)
    this.#listingsChanged()
  }

  sayAble(name: string, able: boolean): void {
    if (able) this.unable.delete(name)
    else this.unable.add(name)
    this.#listingsChanged()
  }

  #listingsChanged(): void {
    this.listingVersion++
    this.onChange()
  }
}

/** One run of a worker. */
interface Owner {
  readonly name: string
}

/** Who refuses older fences, and what must hold about the fences that are used. */
export class Fences {
  readonly redis: number[]
  /** What a connect node has heard. */
  readonly node: number[]
  redisUp = true
  /** Who has been given a fence: `partition fence` to the worker's run. */
  readonly #given = new Map<string, Owner>()

  constructor(
    partitions: number,
    private readonly planted: Planted,
  ) {
    this.redis = new Array<number>(partitions).fill(0)
    this.node = new Array<number>(partitions).fill(0)
  }

  /** fence.lua */
  raise(partition: number, fence: number): number | undefined {
    const known = this.redis[partition]!
    if (fence <= known && !this.planted.anyFence) return known
    this.redis[partition] = fence
    return undefined
  }

  given(worker: Owner, partition: number, fence: number): void {
    const name = `${partition} ${fence}`
    const other = this.#given.get(name)
    if (other && other !== worker) throw new Broken(`fence ${fence} of ${partition} was given to two owners`)
    this.#given.set(name, worker)
  }

  /** deliver.ts: a push under an older fence is refused. */
  push(partition: number, fence: number): number | undefined {
    if (fence < this.node[partition]!) return this.node[partition]
    this.node[partition] = fence
    return undefined
  }

  /** settle.lua, and what must hold about everything that it takes. */
  settle(worker: Owner, partition: number, fence: number): number | undefined {
    const known = this.redis[partition]!
    if (fence < known) return known
    this.redis[partition] = fence
    if (this.#given.get(`${partition} ${fence}`) !== worker) {
      throw new Broken(`${worker.name} settled ${partition} under fence ${fence}, which is another's`)
    }
    for (let higher = fence + 1; higher <= this.node[partition]!; higher++) {
      if (this.#given.has(`${partition} ${higher}`)) throw new Broken(`settled under ${fence}, below ${higher}`)
    }
    return undefined
  }
}
