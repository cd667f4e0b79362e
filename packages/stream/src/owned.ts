/** What a consumer knows of a partition that its process owns, and of an entry read from it. */
import type { DeadLetter } from './settle.js'

export interface Owned {
  readonly partition: number
  readonly fence: number
  /** Ids in a handler's hands: read again after a lost reply, they are not handled twice at once. */
  readonly inHand: Set<string>
  /** Our own pending entries must be read again: a reply may have been lost after Redis gave it. */
  rereadOwn: boolean
  /** And now and then all the same: a reply can be lost without a sign. */
  rereadAt: number
  reclaimAt: number
  /** It is being given up: what has no fate stays pending, for the next owner. */
  over: boolean
  /** Told when entries of it were left so. */
  onLeft: (() => void) | undefined
}

export interface Row {
  owned: Owned
  streamId: string
  fields: string[]
  /** What becomes of it, once that is known. Without it the entry stays pending. */
  fate: DeadLetter | 'done' | undefined
}

/** A partition at the moment when its ownership begins: everything is due. */
export const newlyOwned = (partition: number, fence: number): Owned => ({
  partition,
  fence,
  inHand: new Set(),
  rereadOwn: true,
  rereadAt: 0,
  reclaimAt: 0,
  over: false,
  onLeft: undefined,
})
