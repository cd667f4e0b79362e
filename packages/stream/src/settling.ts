/** Settling what has a fate: gathered for a few milliseconds, then one call per server. */
import { readsApart } from './cluster.js'
import type { Group, Keys } from './keys.js'
import type { Owned, Row } from './owned.js'
import { type Redis, together } from './redis.js'
import { type DeadLetter, settle } from './settle.js'

/** What is about to be settled of one partition. */
interface Due {
  done: string[]
  dead: DeadLetter[]
}

export interface Settling {
  /** Settles those whose fate is known soon, together with what else comes. */
  soon(rows: readonly Row[]): void
  /** Settles now what waits. */
  now(): void
  /** Settles ids whose entries are gone from the stream. */
  gone(owned: Owned, streamIds: readonly string[]): void
}

/**
 * @param settleMs how long a finished entry may wait for others to be settled with
 * @param track takes the calls that are under way; what fails stays pending
 * @param disown told of a partition that has a newer owner, with that one's fence
 */
export function createSettling(deps: {
  group: Group
  keys: Keys
  redis: Redis
  settleMs: number
  track(work: Promise<void>): void
  disown(owned: Owned, by: number): void
}): Settling {
  const { group, keys, redis, settleMs, track, disown } = deps
  const due = new Map<Owned, Due>()
  const apart = readsApart(redis)
  let timer: NodeJS.Timeout | undefined

  /** What Redis refused of one partition stays pending; the others are settled all the same. */
  async function settleNow(dues: readonly (readonly [Owned, Due])[]): Promise<void> {
    try {
      const settlements = dues.map(([{ partition, fence }, due]) => ({ partition, fence, ...due }))
      const outcomes = await settle(redis, keys, group, settlements)
      for (const [i, [owned]] of dues.entries()) {
        const newer = outcomes[i]
        if (typeof newer === 'number') disown(owned, newer)
      }
      const refused = outcomes.find((outcome) => outcome instanceof Error)
      if (refused) throw refused
    } finally {
      for (const [{ inHand }, { done, dead }] of dues) {
        for (const id of done) inHand.delete(id)
        for (const { streamId } of dead) inHand.delete(streamId)
      }
    }
  }

  function now(): void {
    clearTimeout(timer)
    timer = undefined
    const dues = [...due]
    due.clear()
    if (dues.length === 0) return
    if (!apart) {
      track(settleNow(dues))
      return
    }
    together(redis, () => {
      for (const one of dues) track(settleNow([one]))
    })
  }

  return {
    soon(rows) {
      for (const { owned, streamId, fate } of rows) {
        if (!fate) continue
        let one = due.get(owned)
        if (!one) {
          one = { done: [], dead: [] }
          due.set(owned, one)
        }
        if (fate === 'done') one.done.push(streamId)
        else one.dead.push(fate)
      }
      if (due.size > 0) timer ??= setTimeout(now, settleMs)
    },
    now,
    gone(owned, streamIds) {
      track(settleNow([[owned, { done: [...streamIds], dead: [] }]]))
    },
  }
}
