/**
 * The consumer of one group: read (reads.ts, in lanes), hand to the handler and decide (fates.ts), settle (settling.ts). Promise: an
 * entry is settled only after its handler has finished with it.
 *
 * On one server a single lane reads all partitions in one blocking call. On a cluster each partition has a lane: Redis refuses a
 * command with keys of two slots, even when both lie on one node, and a shard that is away must not hold up the others. While much
 * comes they read in rounds (read-rounds.ts), and what several have read at the same time goes to the handler together.
 */
import type { Logger } from '@tidings/service'
import { readsApart } from './cluster.js'
import { createEntryRate } from './entry-rate.js'
import { createFates } from './fates.js'
import { ensureGroups } from './groups.js'
import type { Handler } from './handler.js'
import type { Group, Keys } from './keys.js'
import { type Lane, startLane } from './lane.js'
import type { StreamMetrics } from './metrics.js'
import { newlyOwned, type Owned, type Row } from './owned.js'
import { createReadRounds } from './read-rounds.js'
import { createReader } from './reader.js'
import { createReads, READ_ENTRIES } from './reads.js'
import type { Redis } from './redis.js'
import { createSettling } from './settling.js'

export interface Owning {
  readonly fence: number
  /** Stream ids that were read and are not settled yet. */
  readonly inHand: ReadonlySet<string>
}

export interface Consumer {
  /** This process owns the partition now. */
  own(partition: number, fence: number): void
  /** Reads no more of it; resolves when what is in hand is finished, or waits for what is away: that stays pending. */
  release(partition: number): Promise<void>
  readonly owned: ReadonlyMap<number, Owning>
  stop(): Promise<void>
}

export interface ConsumerOptions {
  group: Group
  /** Unique to this run of this process: what an earlier one left pending is another consumer's. */
  consumer: string
  keys: Keys
  /** For all that is quick. */
  redis: Redis
  handler: Handler
  /** How many batches may be in the handler's hands at once. */
  window: number
  /** How long to wait for more before the next read when the stream runs thin. */
  gatherMs: number
  /** It gathers only when so many entries a second come: at rest nothing is delayed. */
  gatherFrom: number
  /** On a cluster it gathers by reading in rounds: the time between two of them, in milliseconds. */
  roundMs: number
  /** How long a finished entry may wait for others to be settled with, in milliseconds. */
  settleMs: number
  /** Told when a newer owner's fence (`by`) has ended the ownership under `fence`. */
  onDisowned(partition: number, fence: number, by: number): void
  metrics: StreamMetrics
  log: Logger
}

export function startConsumer(options: ConsumerOptions): Consumer {
  const { group, consumer, keys, redis, handler, window, gatherMs, gatherFrom, roundMs, settleMs } = options
  const { onDisowned, metrics, log } = options
  const owned = new Map<number, Owned>()
  const stopper = new AbortController()
  const { signal } = stopper
  const inFlight = new Set<Promise<void>>()
  /** What lanes have read, until there is room for it. */
  const waiting: { rows: readonly Row[]; taken(): void }[] = []
  /** Batches in the handler's hands. */
  let handling = 0
  const settling = createSettling({ group, keys, redis, settleMs, track, disown })
  const decide = createFates({ group, redis, keys, handler, signal, disown, metrics, log })
  const rate = createEntryRate()
  const rounds = readsApart(redis) ? createReadRounds({ redis, rate, everyMs: roundMs, from: gatherFrom }) : undefined
  const lanes = new Map<number, Lane>()
  const shared = rounds ? undefined : openLane(0)

  /** @param partition one of those it is to read: on a cluster the only one */
  function openLane(partition: number): Lane {
    const ofLane = new Map<number, Owned>()
    const key = keys.messages(partition)
    const reader = createReader({ redis, key, log })
    const reads = createReads({
      group,
      consumer,
      keys,
      redis,
      owned: ofLane,
      onGone: settling.gone,
      onMissed: missed,
      metrics,
      log,
    })
    return startLane({
      owned: ofLane,
      reader,
      reads,
      takes: handOver,
      repair: (error) => repair(error, ofLane.keys()),
      rate,
      rounds: rounds?.of(key),
      gatherMs,
      gatherFrom,
      metrics,
      log: log.child({ group }),
    })
  }

  async function repair(error: Error, partitions: Iterable<number>): Promise<void> {
    if (!/NOGROUP|UNBLOCKED|no longer exists/.test(error.message)) return
    await ensureGroups(redis, keys, group, partitions).catch((e: unknown) => log.warn({ err: e }, 'creating groups'))
  }

  function track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        log.warn({ err: error, group }, 'settling failed; the entries stay pending')
        for (const state of owned.values()) state.rereadOwn = true
      })
      .finally(() => inFlight.delete(tracked))
    inFlight.add(tracked)
  }

  /** Resolves when the handler has them. What was given away while it was read stays pending. */
  async function handOver(found: readonly Row[]): Promise<void> {
    if (signal.aborted) return
    const rows = found.filter(({ owned: state }) => owned.get(state.partition) === state || missed(state.partition))
    if (rows.length === 0) return
    for (const { owned: state, streamId } of rows) state.inHand.add(streamId)
    const taken = new Promise<void>((resolve) => waiting.push({ rows, taken: resolve }))
    track(taken)
    // What other lanes hand over in this turn of the event loop goes along.
    if (shared) fill()
    else setImmediate(fill)
    await taken
  }

  /** Entries of a partition came too late for the ownership that they were read under: one that has begun since must look for them. */
  function missed(partition: number): false {
    const state = owned.get(partition)
    if (state) state.rereadOwn = true
    return false
  }

  /** A batch costs the handler much the same, whatever is in it: what waits goes in together. */
  function fill(): void {
    while (handling < window && waiting.length > 0) {
      const rows: Row[] = []
      while (waiting.length > 0 && (rows.length === 0 || rows.length + waiting[0]!.rows.length <= READ_ENTRIES)) {
        const next = waiting.shift()!
        rows.push(...next.rows)
        next.taken()
      }
      if (rows.length === 0) continue
      handling++
      track(
        process(rows).finally(() => {
          handling--
          fill()
        }),
      )
    }
  }

  /** What waits for the handler is left to the next owner: what the handler is at may wait for long. */
  function leaveWaiting(state: Owned): void {
    for (const one of waiting) {
      const rows = one.rows.filter((row) => row.owned !== state)
      if (rows.length === one.rows.length) continue
      for (const { owned: of, streamId } of one.rows) if (of === state) state.inHand.delete(streamId)
      one.rows = rows
      if (rows.length === 0) one.taken()
    }
    state.onLeft?.()
  }

  /** From rows to settled entries. */
  async function process(rows: readonly Row[]): Promise<void> {
    try {
      await decide(rows)
    } finally {
      for (const { fate, owned: state, streamId } of rows) if (!fate) state.inHand.delete(streamId)
      settling.soon(rows)
    }
  }

  /**
   * Another process owns the partition now: what is pending here is its to take over. A late answer about an ownership that has been
   * renewed since says nothing about the new one.
   */
  function disown(state: Owned, by: number): void {
    const { partition, fence } = state
    if (owned.get(partition) !== state) return
    stopReading(state)
    log.warn({ group, partition, fence, by }, 'a newer owner has been there; this one stops')
    onDisowned(partition, fence, by)
  }

  function startReading(state: Owned): void {
    const { partition } = state
    owned.set(partition, state)
    const lane = shared ?? lanes.get(partition) ?? openLane(partition)
    if (!shared) lanes.set(partition, lane)
    lane.owned.set(partition, state)
    lane.kick()
  }

  function stopReading(state: Owned): void {
    const { partition } = state
    state.over = true
    owned.delete(partition)
    leaveWaiting(state)
    const lane = shared ?? lanes.get(partition)
    if (!lane?.owned.delete(partition)) return
    if (shared) {
      shared.kick()
    } else {
      lanes.delete(partition)
      track(lane.stop())
    }
  }

  return {
    own(partition, fence) {
      startReading(newlyOwned(partition, fence))
    },
    async release(partition) {
      const state = owned.get(partition)
      if (!state) return
      stopReading(state)
      while (state.inHand.size > 0) {
        settling.now()
        if (inFlight.size === 0) break
        const left = new Promise<void>((resolve) => {
          state.onLeft = resolve
        })
        // Of a batch with others' entries these may be left long before it is done.
        await Promise.race([...inFlight, left])
      }
    },
    owned,
    async stop() {
      stopper.abort()
      const reading = [...(shared ? [shared] : []), ...lanes.values()].map((lane) => lane.stop())
      rounds?.stop()
      await Promise.all(inFlight)
      settling.now()
      await Promise.all(inFlight)
      await Promise.all(reading)
    },
  }
}
