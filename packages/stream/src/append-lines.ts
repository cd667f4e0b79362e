/** What waits to be appended, and what of it goes into the next call. */
import type { AppError } from '@tidings/protocol'
import type { ChangeRule } from './folds.js'
import type { MemberRule } from './members.js'
import type { Place } from './places.js'

/** Most items, and most bytes of content, in one batch. */
const MAX_ITEMS = 256
const MAX_BYTES = 1024 * 1024
export interface AppendItem {
  /** Snowflake, decimal. */
  id: string
  conversation: string
  from: string
  type: string
  content: string
  /** What the sender wrote, where it is not the content: a retry is known by it. */
  sent?: string | undefined
  /** It is not appended: the answer is what an earlier send with its clientId was given, or else this. */
  refusal?: AppError | undefined
  /** The refusal is that the sender may not write there: nothing is made, and nobody waits, for its sake. */
  outsider?: boolean | undefined
  clientId: string
  /** Milliseconds since 1970. */
  sentAt: number
  trace: string
  /**
   * In a room: `check` that the sender is in it and not muted, in the very step in which the entry gets its seq; or what this entry
   * changes of its members, from its own seq on; or `known` that there is such a room, whoever sends. Undefined elsewhere.
   */
  members?: MemberRule | undefined
  /** Of an entry that changes another one: whether it still may is decided, and done, in the step in which it gets its seq. */
  change?: ChangeRule | undefined
  /** See protocol's options.ts. */
  options?: string | undefined
  /** Of what is pushed with a key: the entry that the same sender pushed here with it before is a stub from now on. */
  collapseKey?: string | undefined
}

export interface Appended {
  id: string
  seq: number
  sentAt: number
  /** Where the entry lies in the partition's stream. */
  streamId: string
  /** Number of the generation that answered: in a later one, the stream may not hold the entry any more. */
  generation: number
  partition: number
  /**
   * An earlier send with the same clientId and body was answered; this is that answer. Or a change found that all is so already: then
   * it names the newest change of the message, or the message itself.
   */
  duplicate: boolean
}

export interface Waiting {
  item: AppendItem
  place: Place
  /** How often it was sent back because its partition must be opened, or its conversation must leap. */
  detours: number
  resolve(appended: Appended): void
  reject(error: AppError): void
}

/** What waits in one partition. */
export interface Line {
  readonly partition: number
  readonly queue: Waiting[]
  /** A call with items of it is under way. What comes behind them waits, so the order of sends stands. */
  busy: boolean
  /**
   * For how many reasons it waits: its generation is being opened, conversations of it leap, the members of a room are put back. Until
   * then nothing of it is appended, so the order of sends stands.
   */
  held: number
  /** Number of the latest generation that it was appended under. */
  generation: number
}

export type Batch = ReadonlyMap<Line, readonly Waiting[]>

export const itemsOf = (batch: Batch): Waiting[] => [...batch.values()].flat()

export function countOf(batch: Batch): number {
  let count = 0
  for (const items of batch.values()) count += items.length
  return count
}

/** The lines in turn, so that one with much does not hold up the others for ever; what does not fit waits for the next batch. */
export function takeBatch(due: Iterable<Line>): Batch {
  const batch = new Map<Line, Waiting[]>()
  let bytes = 0
  let count = 0
  for (const line of due) {
    const { queue } = line
    let taken = 0
    while (taken < queue.length && count < MAX_ITEMS && (count === 0 || bytes + sizeOf(queue[taken]!) <= MAX_BYTES)) {
      bytes += sizeOf(queue[taken]!)
      taken++
      count++
    }
    // It keeps its turn: those that went come behind it when they are due again.
    if (taken > 0) batch.set(line, queue.splice(0, taken))
  }
  return batch
}

const sizeOf = ({ item }: Waiting): number => item.content.length
