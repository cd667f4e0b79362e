/**
 * Which partitions a worker works on, as a pure state machine: it is told what etcd, Redis and the consumer say, and answers what is to
 * be done. It does no I/O; partitions.ts does it.
 *
 * To work on a partition a worker needs two things, in this order: the key in etcd, which names owner and fence, and the fence in
 * Redis, which must be higher than any before. etcd proposes and Redis disposes: a fence that Redis takes was never taken before, so no
 * two owners work under the same one, even when etcd has lost its data and counts from 1 again. Whoever is refused, by Redis or by
 * somebody who has heard from a newer owner, claims anew with the refuser's fence plus one, as long as etcd names him.
 */
import type { ClaimsEffect, ClaimsEvent, Named } from './claim-events.js'
import { planShares } from './shares.js'

/** What is under way for a partition: one thing at a time. */
type Busy = 'claim' | 'raise' | 'release' | 'unlist'

interface Slot {
  busy: Busy | undefined
  /** The key that this process wrote last. */
  key: { fence: number; revision: number; lease: string } | undefined
  /** The fence under which the consumer works. */
  fence: number | undefined
  /** The highest fence that somebody has refused us with. */
  refusedBy: number
}

/** What is known of a key; without an owner there is none. */
interface Known {
  owner: string | undefined
  /** Of the last owner that was heard of. */
  fence: number
  revision: number
}

/** Stands for an owner while a partition is being given up: it is neither ours nor free. */
const LEAVING = ''

export class Claims {
  readonly #me: string
  readonly #partitions: number
  readonly #slots: Slot[]
  readonly #known: Known[]
  #workers: readonly string[] | undefined
  #resting = false
  #lease = ''
  #revision = 0
  #readings = 0
  #stopping = false
  #effects: ClaimsEffect[] = []

  /** @param me this worker's listing under nodes/task */
  constructor(me: string, partitions: number) {
    this.#me = me
    this.#partitions = partitions
    this.#slots = Array.from({ length: partitions }, () => ({
      busy: undefined,
      key: undefined,
      fence: undefined,
      refusedBy: 0,
    }))
    this.#known = Array.from({ length: partitions }, () => ({ owner: undefined, fence: 0, revision: 0 }))
  }

  /** Takes in what happened. @returns what is to be done now */
  on(event: ClaimsEvent): ClaimsEffect[] {
    this.#effects = []
    if (this.#takeIn(event)) this.#plan()
    return this.#effects
  }

  /** Told to stop, and nothing is left to do. */
  get stopped(): boolean {
    return this.#stopping && this.#slots.every(({ busy, key, fence }) => !busy && !key && fence === undefined)
  }

  /** @returns false when there is nothing to plan before time has passed */
  #takeIn(event: ClaimsEvent): boolean {
    switch (event.type) {
      case 'read':
        this.#read(event.named, event.revision)
        return true
      case 'named':
        this.#see(event.partition, event)
        return true
      case 'unnamed':
        this.#see(event.partition, { owner: undefined, revision: event.revision })
        return true
      case 'workers':
        this.#workers = event.workers
        this.#resting = event.resting ?? false
        return true
      case 'leased':
        this.#lease = event.lease
        return true
      case 'claimed': {
        const { partition, fence, reading } = event.claim
        const slot = this.#answered(partition)
        slot.key = { fence, revision: event.revision, lease: event.lease }
        if (reading === this.#readings) this.#see(partition, { owner: this.#me, fence, revision: event.revision })
        return true
      }
      case 'claim-lost': {
        const { partition, reading } = event.claim
        this.#answered(partition)
        if (reading === this.#readings)
          this.#see(partition, event.found ?? { owner: undefined, revision: event.revision })
        return true
      }
      case 'claim-failed':
        this.#answered(event.claim.partition)
        return false
      case 'raised': {
        const slot = this.#answered(event.partition)
        if (!this.#stopping && this.#isNamed(event.partition, slot)) {
          slot.fence = event.fence
          this.#effects.push({ type: 'own', partition: event.partition, fence: event.fence })
        }
        return true
      }
      case 'raise-failed':
        this.#answered(event.partition)
        return false
      case 'refused':
        this.#refused(event)
        return true
      case 'released': {
        const slot = this.#answered(event.partition)
        slot.fence = undefined
        return true
      }
      case 'unlisted': {
        const { partition, found, revision, reading } = event
        const slot = this.#answered(partition)
        if (reading === this.#readings) {
          slot.key = undefined
          this.#see(partition, found ?? { owner: undefined, revision })
        } else this.#forget(slot)
        return true
      }
      case 'unlist-failed':
        this.#forget(this.#answered(event.partition))
        return false
      case 'tick':
        return true
      case 'stop':
        this.#stopping = true
        return true
    }
  }

  #answered(partition: number): Slot {
    const slot = this.#slots[partition]!
    slot.busy = undefined
    return slot
  }

  /**
   * Nobody knows whether our key is gone. It is asked for again, or it would name us for ever while we think that it is nobody's; one
   * who stops leaves that to the end of the lease.
   */
  #forget(slot: Slot): void {
    if (this.#stopping) slot.key = undefined
  }

  /**
   * What was read replaces what was known, for etcd may have lost its data. But a key that we wrote at a higher revision is not
   * missing from it: it is uncertain, and a claim will tell.
   */
  #read(named: ReadonlyMap<number, Named>, revision: number): void {
    this.#readings++
    this.#revision = revision
    for (const [partition, slot] of this.#slots.entries()) {
      const uncertain = slot.key !== undefined && slot.key.revision > revision
      const found = uncertain ? undefined : named.get(partition)
      const { fence } = this.#known[partition]!
      this.#known[partition] = found ? { ...found } : { owner: undefined, fence, revision: uncertain ? 0 : revision }
    }
  }

  /** Answers and watch run beside each other: what is older than what is known says nothing. */
  #see(partition: number, news: { owner: string | undefined; fence?: number; revision: number }): void {
    const known = this.#known[partition]
    if (!known || news.revision < known.revision) return
    known.owner = news.owner
    known.fence = news.fence ?? known.fence
    known.revision = news.revision
    this.#revision = Math.max(this.#revision, news.revision)
  }

  #refused({ partition, fence, by }: { partition: number; fence: number; by: number }): void {
    const slot = this.#slots[partition]
    if (!slot) return
    const ofRaise = slot.busy === 'raise' && slot.key?.fence === fence
    if (ofRaise) slot.busy = undefined
    if (slot.fence === fence) slot.fence = undefined
    // What was done under our older fence may be refused because of our newer one: that is no refusal.
    if (ofRaise || by !== slot.key?.fence) slot.refusedBy = Math.max(slot.refusedBy, by)
  }

  /** Does etcd name us, by the key that we wrote? */
  #isNamed(partition: number, { key }: Slot): boolean {
    const { owner, fence } = this.#known[partition]!
    return owner === this.#me && fence === key?.fence
  }

  #plan(): void {
    if (this.#stopping) {
      for (const [partition, slot] of this.#slots.entries()) if (!slot.busy) this.#leave(partition, slot, 'stop')
      return
    }
    if (!this.#workers || this.#readings === 0) return
    // While etcd does not list us (it lost its data, or our lease) we go on as if it did.
    const listed = this.#resting || this.#workers.includes(this.#me)
    const workers = listed ? this.#workers : [...this.#workers, this.#me]
    const owners = new Map<number, string>()
    for (const [partition, slot] of this.#slots.entries()) {
      const owner = this.#ownerOf(partition, slot)
      if (owner !== undefined) owners.set(partition, owner)
    }
    const { claim, release } = planShares({ me: this.#me, workers, partitions: this.#partitions, owners })
    for (const partition of release) {
      const slot = this.#slots[partition]!
      owners.set(partition, LEAVING)
      if (!slot.busy) this.#leave(partition, slot, 'share')
    }
    for (const partition of claim) owners.set(partition, this.#me)
    for (const [partition, slot] of this.#slots.entries()) {
      if (slot.busy) continue
      const owner = owners.get(partition)
      if (owner === this.#me) this.#complete(partition, slot)
      else if (owner !== LEAVING) this.#lose(partition, slot)
    }
  }

  #ownerOf(partition: number, { busy, key, fence }: Slot): string | undefined {
    const { owner } = this.#known[partition]!
    const leaving = busy === 'release' || busy === 'unlist'
    if (owner !== undefined) return leaving && owner === this.#me ? LEAVING : owner
    if (leaving) return LEAVING
    // Ours until etcd says whose it is, even if a reading did not show it.
    return fence !== undefined || busy || key ? this.#me : undefined
  }

  /** The next step towards working on it, if one is missing. */
  #complete(partition: number, slot: Slot): void {
    const { owner, revision } = this.#known[partition]!
    const { key } = slot
    const expected = owner === undefined ? 0 : revision
    if (!key || !this.#isNamed(partition, slot) || key.fence <= slot.refusedBy) {
      this.#claim(partition, expected, this.#nextFence(partition, slot))
    } else if (slot.fence !== key.fence) {
      slot.busy = 'raise'
      this.#effects.push({ type: 'raise', partition, fence: key.fence })
    } else if (key.lease !== this.#lease) {
      // The same owner under a new lease.
      this.#claim(partition, expected, key.fence)
    }
  }

  /** Higher than all we have heard of. It is a guess: Redis says whether it is high enough. */
  #nextFence(partition: number, { key, fence, refusedBy }: Slot): number {
    return Math.max(this.#revision, this.#known[partition]!.fence, key?.fence ?? 0, fence ?? 0, refusedBy) + 1
  }

  #claim(partition: number, expected: number, fence: number): void {
    // Somebody knows a fence above which there is none: an operator's affair, and no reason to ask without end.
    if (!Number.isSafeInteger(fence)) return
    this.#slots[partition]!.busy = 'claim'
    this.#effects.push({ type: 'claim', partition, expected, fence, reading: this.#readings })
  }

  /** Gives it back: first the work ends, then the key goes. */
  #leave(partition: number, slot: Slot, because: 'share' | 'stop'): void {
    if (slot.fence !== undefined) {
      slot.busy = 'release'
      this.#effects.push({ type: 'release', partition, because })
      return
    }
    const { owner, revision } = this.#known[partition]!
    const named = owner === this.#me
    if (!slot.key && !(named && because === 'share')) return
    slot.busy = 'unlist'
    this.#effects.push({
      type: 'unlist',
      partition,
      revision: named ? revision : slot.key!.revision,
      reading: this.#readings,
    })
  }

  /** etcd names another owner, or nobody and it is not our turn. */
  #lose(partition: number, slot: Slot): void {
    slot.key = undefined
    if (slot.fence === undefined) return
    slot.busy = 'release'
    this.#effects.push({ type: 'release', partition, because: 'another-owner' })
  }
}
