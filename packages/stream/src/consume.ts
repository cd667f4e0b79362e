/**
 * The consume loop of one group: read, hand to the handler, settle. A handler returns or throws, and here alone it is decided what
 * becomes of an entry: settled, tried again, or set aside. Promise: an entry is settled only after its handler has finished with it.
 */
import { AppError, type Entry } from '@tidings/protocol'
import { backoffMs, type Logger, pause } from '@tidings/service'
import { decodeEntry, PoisonError } from './entry.js'
import { ensureGroups } from './groups.js'
import type { Group, Keys } from './keys.js'
import type { StreamMetrics } from './metrics.js'
import { reclaim, type StreamRow } from './reclaim.js'
import { BLOCK_MS, type Redis, together } from './redis.js'
import { type DeadLetter, settle } from './settle.js'

/** Most entries read in one turn, spread over the partitions that have some. */
const READ_ENTRIES = 512
const LEAST_PER_PARTITION = 32
/** How long a finished entry may wait for others to be settled with. */
const SETTLE_AFTER_MS = 10
/** A read with fewer entries than this shows that the stream runs thin: then a group that may wait gathers. */
const THIN_READ = 128
const RECLAIM_EVERY_MS = 1_000
const REREAD_EVERY_MS = 10_000
const RECLAIM_LIMIT = 512
/** Tries of an entry whose handler fails for a reason of the entry's own. */
const MAX_DELIVERIES = 5
const RETRY = { firstMs: 100, maxMs: 5_000 }

/** An entry in a handler's hands. */
export interface Delivery {
  partition: number
  /** The owner's fence, to travel with everything that is done for this entry. */
  fence: number
  streamId: string
  entry: Entry
}

/** What a handler could not simply finish. */
export interface Exceptions {
  /** Entries that can never succeed, with the reason: they become dead letters. */
  poisoned?: readonly { delivery: Delivery; reason: string }[]
  /** Partitions that turned out to have a newer owner: nothing of them is settled here, and this process stops reading them. */
  fenced?: readonly number[]
}

export interface Handler {
  /**
   * Does the group's work for entries in stream order. Returning settles them all, but for the exceptions.
   * @throws PoisonError when the one entry given can never succeed; AppError `unavailable` when the world is down and not the
   * entry: the group pauses and nothing is counted; anything else is tried again and given up after five deliveries
   */
  handle(batch: readonly Delivery[]): Promise<Exceptions>
  /** Told before an entry is set aside, with its raw fields. May throw `unavailable`, which pauses. */
  bury?(partition: number, fields: readonly string[], reason: string): Promise<void>
}

interface Owned {
  fence: number
  /** Ids in a handler's hands: read again after a lost reply, they are not handled twice at once. */
  inHand: Set<string>
  /** Our own pending entries must be read again: a reply may have been lost after Redis gave it. */
  rereadOwn: boolean
  /** And now and then all the same: a reply can be lost without a sign. */
  rereadAt: number
  reclaimAt: number
}

/** What is about to be settled of one partition. */
interface Settling {
  fence: number
  done: string[]
  dead: DeadLetter[]
}

interface Row {
  partition: number
  owned: Owned
  streamId: string
  fields: string[]
}

export interface Consumer {
  /** This process owns the partition now. */
  own(partition: number, fence: number): void
  /** Reads no more of it; resolves when what is in hand is finished. */
  release(partition: number): Promise<void>
  readonly owned: ReadonlyMap<number, { fence: number }>
  stop(): Promise<void>
}

export interface ConsumerOptions {
  group: Group
  /** Unique to this run of this process: what an earlier one left pending is another consumer's. */
  consumer: string
  keys: Keys
  /** For all that is quick. */
  redis: Redis
  /** For the blocking read alone. */
  reader: Redis
  handler: Handler
  /** How many batches may be in the handler's hands at once. */
  window: number
  /** How long to wait for more before the next read when the stream runs thin. */
  gatherMs: number
  /** Told when a newer owner's fence has ended an ownership. */
  onDisowned(partition: number): void
  metrics: StreamMetrics
  log: Logger
}

export function startConsumer(options: ConsumerOptions): Consumer {
  const { group, consumer, keys, redis, reader, handler, window, gatherMs, onDisowned, metrics, log } = options
  const owned = new Map<number, Owned>()
  const stopper = new AbortController()
  const { signal } = stopper
  const inFlight = new Set<Promise<void>>()
  /** The part of it that is in the handler's hands. */
  const handling = new Set<Promise<void>>()
  let readerId: number | undefined
  let wake: (() => void) | undefined
  let perPartition = READ_ENTRIES
  let failures = 0
  const due = new Map<Owned, { partition: number } & Settling>()
  let settleTimer: NodeJS.Timeout | undefined

  reader.on('ready', onReaderReady)
  if (reader.status === 'ready') onReaderReady()
  function onReaderReady(): void {
    for (const state of owned.values()) state.rereadOwn = true
    reader.client('ID').then(
      (id) => {
        readerId = Number(id)
      },
      (error: unknown) => log.debug({ err: error }, 'no client id; a change of partitions waits for the read to end'),
    )
  }

  /** Ends a wait or a blocking read, so that a change of partitions counts at once. */
  function kick(): void {
    wake?.()
    if (readerId === undefined || redis.status !== 'ready') return
    redis.client('UNBLOCK', readerId).catch((error: unknown) => log.debug({ err: error }, 'unblock'))
  }

  async function loop(): Promise<void> {
    while (!signal.aborted) {
      try {
        const rows = await next()
        failures = 0
        if (rows.length > 0) await handOver(rows)
        if (rows.length > 0 && rows.length < THIN_READ && gatherMs > 0) await pause(gatherMs, signal)
      } catch (error) {
        if (signal.aborted) return
        metrics.readFailed()
        for (const state of owned.values()) state.rereadOwn = true
        await recover(error)
      }
    }
  }

  async function recover(error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error)
    if (failures === 0) log.warn({ err: message, group }, 'reading the streams failed')
    await pause(backoffMs(failures++, { firstMs: 100, maxMs: 1_000 }), signal)
    // Redis may still serve the read that was given up, and nobody would take the reply: a new connection ends it.
    if (/timed out/i.test(message)) reader.disconnect(true)
    if (/NOGROUP|UNBLOCKED|no longer exists/.test(message)) {
      await ensureGroups(redis, keys, group, owned.keys()).catch((e: unknown) =>
        log.warn({ err: e }, 'creating groups'),
      )
    }
  }

  /** What to do next, oldest duty first: own pending entries, what others left, then what is new. */
  async function next(): Promise<Row[]> {
    if (owned.size === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      wake = undefined
      return []
    }
    const left = await takeOver()
    return left.length > 0 ? left : await readNew()
  }

  async function takeOver(): Promise<Row[]> {
    const now = performance.now()
    const rows: Row[] = []
    for (const [partition, state] of [...owned]) {
      if (!state.rereadOwn && now < state.rereadAt) continue
      const own = await readOwnPending(partition)
      state.rereadOwn = false
      state.rereadAt = now + REREAD_EVERY_MS
      rows.push(...fresh(partition, state, own))
    }
    const due = [...owned].filter(([, state]) => now >= state.reclaimAt)
    const taken = await Promise.all(due.map(([partition, state]) => reclaimFrom(partition, state, now)))
    return rows.concat(...taken)
  }

  async function reclaimFrom(partition: number, state: Owned, now: number): Promise<Row[]> {
    const { rows, lost } = await reclaim(redis, keys, { group, consumer, partition, limit: RECLAIM_LIMIT })
    state.reclaimAt = rows.length === RECLAIM_LIMIT ? now : now + RECLAIM_EVERY_MS
    if (rows.length > 0) metrics.reclaimed(rows.length)
    if (lost > 0) tellLost(partition, lost)
    return fresh(partition, state, rows)
  }

  function tellLost(partition: number, lost: number): void {
    metrics.lost(lost)
    log.error({ group, partition, lost }, 'pending entries were deleted from the stream: they are lost')
  }

  async function readOwnPending(partition: number): Promise<StreamRow[]> {
    const rows: StreamRow[] = []
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
      )) as [string, StreamRow[]][] | null
      const page = reply?.[0]?.[1] ?? []
      rows.push(...page)
      if (page.length < READ_ENTRIES) return rows
      after = page.at(-1)![0]
    }
  }

  async function readNew(): Promise<Row[]> {
    const partitions = [...owned.keys()]
    const reply = (await reader.xreadgroup(
      'GROUP',
      group,
      consumer,
      'COUNT',
      perPartition,
      'BLOCK',
      BLOCK_MS,
      'STREAMS',
      ...partitions.map((p) => keys.messages(p)),
      ...partitions.map(() => '>'),
    )) as [string, StreamRow[]][] | null
    if (!reply) return []
    perPartition = Math.max(LEAST_PER_PARTITION, Math.floor(READ_ENTRIES / reply.length))
    const byKey = new Map(partitions.map((p) => [keys.messages(p), p]))
    const rows: Row[] = []
    for (const [key, found] of reply) {
      const partition = byKey.get(key)!
      const state = owned.get(partition)
      // Released while the read was blocked: these are now pending with us, and the new owner takes them over.
      if (state) rows.push(...fresh(partition, state, found))
    }
    return rows
  }

  /** Leaves out what is in hand already, and settles what is gone from the stream. */
  function fresh(partition: number, state: Owned, found: readonly StreamRow[]): Row[] {
    const rows: Row[] = []
    const gone: string[] = []
    for (const [streamId, fields] of found) {
      if (state.inHand.has(streamId)) continue
      if (fields) rows.push({ partition, owned: state, streamId, fields })
      else gone.push(streamId)
    }
    if (gone.length > 0) {
      tellLost(partition, gone.length)
      track(settle(redis, keys, group, { partition, fence: state.fence, done: gone, dead: [] }).then(() => undefined))
    }
    return rows
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

  async function handOver(rows: readonly Row[]): Promise<void> {
    for (const row of rows) row.owned.inHand.add(row.streamId)
    // How the other batch ends is its own affair.
    while (handling.size >= window) await Promise.race(handling).catch(() => undefined)
    const work = process(rows).finally(() => handling.delete(work))
    handling.add(work)
    track(work)
  }

  /** From rows to settled entries. */
  async function process(rows: readonly Row[]): Promise<void> {
    const fates = new Map<Row, DeadLetter | 'done'>()
    try {
      const batch: { row: Row; delivery: Delivery }[] = []
      for (const row of rows) {
        try {
          const entry = decodeEntry(row.fields, row.partition, keys.partitionOf)
          batch.push({
            row,
            delivery: { partition: row.partition, fence: row.owned.fence, streamId: row.streamId, entry },
          })
        } catch (error) {
          if (!(error instanceof PoisonError)) throw error
          await bury(row, error.message, 1, fates)
        }
      }
      if (batch.length > 0) await attempt(batch, fates)
    } finally {
      for (const row of rows) if (!fates.has(row)) row.owned.inHand.delete(row.streamId)
      settleSoon(fates)
    }
  }

  /** Tries the whole batch; when it fails for a reason of its own, entry by entry, so that one bad entry harms no other. */
  async function attempt(
    batch: readonly { row: Row; delivery: Delivery }[],
    fates: Map<Row, DeadLetter | 'done'>,
  ): Promise<void> {
    for (let delivery = 1, waits = 0; !signal.aborted; ) {
      try {
        const { poisoned = [], fenced = [] } = await handler.handle(batch.map((one) => one.delivery))
        const reasons = new Map(poisoned.map((one) => [one.delivery, one.reason]))
        for (const one of batch) {
          if (fenced.includes(one.row.partition)) {
            disown(one.row.partition, one.row.owned)
            continue
          }
          const reason = reasons.get(one.delivery)
          if (reason === undefined) fates.set(one.row, 'done')
          else await bury(one.row, reason, delivery, fates)
        }
        return
      } catch (error) {
        if (error instanceof AppError && error.code === 'unavailable') {
          if (waits === 0) log.warn({ err: error.message, group }, 'paused: what the group needs is away')
          await pause(backoffMs(waits++, RETRY), signal)
          continue
        }
        if (batch.length > 1) {
          log.warn({ err: error, group, entries: batch.length }, 'a batch failed; trying its entries one by one')
          for (const one of batch) await attempt([one], fates)
          return
        }
        const one = batch[0]!
        if (error instanceof PoisonError || delivery >= MAX_DELIVERIES) {
          const reason = error instanceof Error ? error.message : String(error)
          await bury(one.row, reason, delivery, fates)
          return
        }
        log.warn({ err: error, group, entry: one.row.streamId, delivery }, 'an entry failed; trying again')
        delivery++
        await pause(backoffMs(delivery, RETRY), signal)
      }
    }
  }

  /**
   * Another process owns the partition now: what is pending here is its to take over. A late answer about an ownership that has been
   * renewed since says nothing about the new one.
   */
  function disown(partition: number, state: Owned): void {
    if (owned.get(partition) !== state) return
    owned.delete(partition)
    log.warn({ group, partition, fence: state.fence }, 'a newer owner has been there; this one stops')
    onDisowned(partition)
  }

  async function bury(
    row: Row,
    reason: string,
    deliveries: number,
    fates: Map<Row, DeadLetter | 'done'>,
  ): Promise<void> {
    for (let waits = 0; handler.bury && !signal.aborted; ) {
      try {
        await handler.bury(row.partition, row.fields, reason)
        break
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'unavailable') throw error
        await pause(backoffMs(waits++, RETRY), signal)
      }
    }
    if (signal.aborted) return
    log.error({ group, partition: row.partition, entry: row.streamId, reason }, 'set aside as a dead letter')
    metrics.deadLettered(1)
    fates.set(row, { streamId: row.streamId, fields: row.fields, reason, deliveries })
  }

  /** Entries whose fate is known are settled together with those of the next few milliseconds: one call per partition. */
  function settleSoon(fates: ReadonlyMap<Row, DeadLetter | 'done'>): void {
    for (const [row, fate] of fates) {
      let settlement = due.get(row.owned)
      if (!settlement) {
        settlement = { partition: row.partition, fence: row.owned.fence, done: [], dead: [] }
        due.set(row.owned, settlement)
      }
      if (fate === 'done') settlement.done.push(row.streamId)
      else settlement.dead.push(fate)
    }
    if (due.size > 0) settleTimer ??= setTimeout(settleDue, SETTLE_AFTER_MS)
  }

  function settleDue(): void {
    clearTimeout(settleTimer)
    settleTimer = undefined
    together(redis, () => {
      for (const [state, settlement] of due) track(settleOne(state, settlement))
    })
    due.clear()
  }

  async function settleOne(state: Owned, settlement: { partition: number } & Settling): Promise<void> {
    try {
      if (!(await settle(redis, keys, group, settlement))) disown(settlement.partition, state)
    } finally {
      for (const id of settlement.done) state.inHand.delete(id)
      for (const { streamId } of settlement.dead) state.inHand.delete(streamId)
    }
  }

  const running = loop()

  return {
    own(partition, fence) {
      owned.set(partition, { fence, inHand: new Set(), rereadOwn: true, rereadAt: 0, reclaimAt: 0 })
      kick()
    },
    async release(partition) {
      const state = owned.get(partition)
      if (!state) return
      owned.delete(partition)
      kick()
      while (state.inHand.size > 0) {
        settleDue()
        if (inFlight.size === 0) break
        await Promise.race(inFlight)
      }
    },
    owned,
    async stop() {
      stopper.abort()
      kick()
      await Promise.all(inFlight)
      settleDue()
      await Promise.all(inFlight)
      reader.disconnect()
      await running
    },
  }
}
