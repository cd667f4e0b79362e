/** Reading a group's entries: our own pending ones after a lost reply, what others left pending, and what is new. */
import type { Logger } from '@tidings/service'
import type { Group, Keys } from './keys.js'
import type { StreamMetrics } from './metrics.js'
import type { Owned, Row } from './owned.js'
import { reclaim, type StreamRow } from './reclaim.js'
import { BLOCK_MS, type Redis, together } from './redis.js'
import { toCommand, write } from './resp.js'

/** Most entries of one read, spread over the partitions that have some. */
export const READ_ENTRIES = 512
const LEAST_PER_PARTITION = 32
const RECLAIM_EVERY_MS = 1_000
const REREAD_EVERY_MS = 10_000
const RECLAIM_LIMIT = 512

type Reply = [key: string, rows: StreamRow[]][] | null

export interface Reads {
  /** What is due of the older duties: own pending entries first, then those that others left. */
  takeOver(): Promise<Row[]>
  /**
   * What is new.
   * @param blocks waits up to BLOCK_MS for it
   * @param send sends a command as it stands on the wire, and returns its reply
   */
  readNew(blocks: boolean, send: (command: Uint8Array) => Promise<unknown>): Promise<Row[]>
  /** Did the last read of what is new leave something behind, in one partition at least? */
  readonly more: boolean
}

/** A read as it stands on the wire, and what it was made of. */
interface PreparedRead {
  blocks: boolean
  command: Uint8Array
  partitions: readonly number[]
  perPartition: number
  byKey: ReadonlyMap<string, number>
}

/**
 * @param owned the partitions to read; entries of one that is given away meanwhile stay pending, for its new owner
 * @param onGone told of entries that were deleted from the stream before they were settled
 * @param onMissed told of a partition that was given away while a read of it brought something
 */
export function createReads(deps: {
  group: Group
  consumer: string
  keys: Keys
  redis: Redis
  owned: ReadonlyMap<number, Owned>
  onGone(owned: Owned, streamIds: readonly string[]): void
  onMissed(partition: number): void
  metrics: StreamMetrics
  log: Logger
}): Reads {
  const { group, consumer, keys, redis, owned, onGone, onMissed, metrics, log } = deps
  let perPartition = READ_ENTRIES
  let more = false
  let prepared: PreparedRead = {
    blocks: true,
    command: Buffer.alloc(0),
    partitions: [],
    perPartition: 0,
    byKey: new Map(),
  }

  /** One read of all partitions. It is the same as the one before, unless what is owned has changed, or how much is read at once. */
  function prepare(blocks: boolean): PreparedRead {
    const partitions = [...owned.keys()]
    const alike = prepared.blocks === blocks && prepared.perPartition === perPartition
    const same = alike && prepared.partitions.length === partitions.length
    if (same && partitions.every((partition, i) => prepared.partitions[i] === partition)) return prepared
    const streams = partitions.map((partition) => keys.messages(partition))
    const options = ['GROUP', group, consumer, 'COUNT', perPartition, ...(blocks ? ['BLOCK', BLOCK_MS] : [])]
    const words = ['XREADGROUP', ...options, 'STREAMS', ...streams, ...streams.map(() => '>')]
    const command = toCommand(write(words))
    return { blocks, command, partitions, perPartition, byKey: new Map(streams.map((key, i) => [key, partitions[i]!])) }
  }

  /** Each page as it comes is held against what is in hand: what is settled while the next one is read would be handled twice. */
  async function readOwnPending(state: Owned): Promise<Row[]> {
    const { partition } = state
    const rows: Row[] = []
    for (let after = '0'; ; ) {
      const reply = (await redis.xreadgroup(
        'GROUP',
        group,
        consumer,
        'COUNT',
        READ_ENTRIES,
        'STREAMS',
        keys.messages(partition),
        after,
      )) as Reply
      const page = reply?.[0]?.[1] ?? []
      rows.push(...fresh(state, page))
      if (page.length < READ_ENTRIES) return rows
      after = page.at(-1)![0]
    }
  }

  async function reclaimFrom(state: Owned, now: number): Promise<Row[]> {
    const { partition } = state
    const { rows, lost } = await reclaim(redis, keys, { group, consumer, partition, limit: RECLAIM_LIMIT })
    state.reclaimAt = rows.length === RECLAIM_LIMIT ? now : now + RECLAIM_EVERY_MS
    if (rows.length > 0) metrics.reclaimed(rows.length)
    if (lost > 0) tellLost(partition, lost)
    return fresh(state, rows)
  }

  function tellLost(partition: number, lost: number): void {
    metrics.lost(lost)
    log.error({ group, partition, lost }, 'pending entries were deleted from the stream: this group never sees them')
  }

  /** Leaves out what is in hand already, and what is gone from the stream. */
  function fresh(state: Owned, found: readonly StreamRow[]): Row[] {
    const rows: Row[] = []
    const gone: string[] = []
    for (const [streamId, fields] of found) {
      if (state.inHand.has(streamId)) continue
      if (fields) rows.push({ owned: state, streamId, fields, fate: undefined })
      else gone.push(streamId)
    }
    if (gone.length > 0) {
      tellLost(state.partition, gone.length)
      onGone(state, gone)
    }
    return rows
  }

  return {
    get more() {
      return more
    },

    async takeOver() {
      const now = performance.now()
      const rows: Row[] = []
      for (const state of [...owned.values()]) {
        if (!state.rereadOwn && now < state.rereadAt) continue
        const own = await readOwnPending(state)
        state.rereadOwn = false
        state.rereadAt = now + REREAD_EVERY_MS
        rows.push(...own)
      }
      const due = [...owned.values()].filter((state) => now >= state.reclaimAt)
      if (due.length === 0) return rows
      const taken = await together(redis, () => Promise.all(due.map((state) => reclaimFrom(state, now))))
      return rows.concat(...taken)
    },

    async readNew(blocks, send) {
      // Given away while what is older was looked at, or a connection was opened.
      if (owned.size === 0) return []
      prepared = prepare(blocks)
      const { command, byKey } = prepared
      const reply = (await send(command)) as Reply
      more = false
      if (!reply) return []
      const found = reply.reduce((sum, [, rows]) => sum + rows.length, 0)
      more = found > READ_ENTRIES || reply.some(([, rows]) => rows.length === perPartition)
      if (more) {
        perPartition = Math.max(LEAST_PER_PARTITION, Math.floor(READ_ENTRIES / reply.length))
      }
      return reply.flatMap(([key, rows]) => {
        const partition = byKey.get(key)!
        const state = owned.get(partition)
        if (state) return fresh(state, rows)
        // These are now pending with us, and the new owner takes them over.
        if (rows.length > 0) onMissed(partition)
        return []
      })
    },
  }
}
