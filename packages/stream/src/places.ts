/** Where the entries of a conversation go, put together once for those that are written to again and again. */
import type { Keys } from './keys.js'
import { write } from './resp.js'

/** About half a kilobyte each. */
const MAX_KEPT = 10_000

/** What append.lua is told of a conversation, as Redis' protocol has it. */
export interface Place {
  readonly partition: number
  /** Its keys: seq, skip, log and read. */
  readonly keys: string
  readonly seq: string
  /** The conversation itself. */
  readonly name: string
}

/** @returns a function that tells the place of a conversation */
export function createPlaces(keys: Keys): (conversation: string) => Place {
  const kept = new Map<string, Place>()

  function find(conversation: string): Place {
    const partition = keys.partitionOf(conversation)
    const seq = keys.seq(conversation, partition)
    const [skip, log, read] = [keys.skip, keys.log, keys.read].map((key) => key(conversation, partition))
    return {
      partition,
      keys: write([seq, skip!, log!, read!]).text,
      seq: write([seq]).text,
      name: write([conversation]).text,
    }
  }

  return (conversation) => {
    let place = kept.get(conversation)
    if (!place) {
      place = find(conversation)
      // Those in use are soon back.
      if (kept.size >= MAX_KEPT) kept.clear()
      kept.set(conversation, place)
    }
    return place
  }
}
