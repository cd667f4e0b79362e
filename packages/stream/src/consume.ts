/**
 * The consume loop of one group: read (reads.ts), hand to the handler and decide (fates.ts), settle (settling.ts). Promise: an entry
 * is settled only after its handler has finished with it.
 */
import { backoffMs, type Logger, pause } from '@tidings/service'
import { createFates, type Fates } from './fates.js'
import { ensureGroups } from './groups.js'
import type { Handler } from './handler.js'
import type { Group, Keys } from './keys.js'
import type { StreamMetrics } from './metrics.js'
import { newlyOwned, type Owned, type Row } from './owned.js'
import { createReads } from './reads.js'
import type { Redis } from './redis.js'
import { createSettling } from './settling.js'

/** A read with fewer entries than this shows that the stream runs thin: then a group that may wait gathers. */
const THIN_READ = 128

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
  const settling = createSettling({ group, keys, redis, track, disown })
  const reads = createReads({ group, consumer, keys, redis, owned, onGone: settling.gone, metrics, log })
  const decide = createFates({ group, keys, handler, signal, disown, metrics, log })
  let readerId: number | undefined
  let wake: (() => void) | undefined
  let failures = 0

  reader.on('ready', onReaderReady)
  if (reader.status === 'ready') onReaderReady()
  function onReaderReady(): void {
    rereadAll()
    reader.client('ID').then(
      (id) => {
        readerId = Number(id)
      },
      (error: unknown) => log.debug({ err: error }, 'no client id; a change of partitions waits for the read to end'),
    )
  }

  function rereadAll(): void {
    for (const state of owned.values()) state.rereadOwn = true
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
        rereadAll()
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

  /** What to do next, oldest duty first. */
  async function next(): Promise<Row[]> {
    if (owned.size === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      wake = undefined
      return []
    }
    const left = await reads.takeOver()
    return left.length > 0 ? left : await reads.readNew(reader)
  }

  function track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        log.warn({ err: error, group }, 'settling failed; the entries stay pending')
        rereadAll()
      })
      .finally(() => inFlight.delete(tracked))
    inFlight.add(tracked)
  }

  async function handOver(rows: readonly Row[]): Promise<void> {
    for (const { owned: state, streamId } of rows) state.inHand.add(streamId)
    // How the other batch ends is its own affair.
    while (handling.size >= window) await Promise.race(handling).catch(() => undefined)
    const work = process(rows).finally(() => handling.delete(work))
    handling.add(work)
    track(work)
  }

  /** From rows to settled entries. */
  async function process(rows: readonly Row[]): Promise<void> {
    const fates: Fates = new Map()
    try {
      await decide(rows, fates)
    } finally {
      for (const row of rows) if (!fates.has(row)) row.owned.inHand.delete(row.streamId)
      settling.soon(fates)
    }
  }

  /**
   * Another process owns the partition now: what is pending here is its to take over. A late answer about an ownership that has been
   * renewed since says nothing about the new one.
   */
  function disown(state: Owned): void {
    const { partition, fence } = state
    if (owned.get(partition) !== state) return
    owned.delete(partition)
    log.warn({ group, partition, fence }, 'a newer owner has been there; this one stops')
    onDisowned(partition)
  }

  const running = loop()

  return {
    own(partition, fence) {
      owned.set(partition, newlyOwned(partition, fence))
      kick()
    },
    async release(partition) {
      const state = owned.get(partition)
      if (!state) return
      owned.delete(partition)
      kick()
      while (state.inHand.size > 0) {
        settling.now()
        if (inFlight.size === 0) break
        await Promise.race(inFlight)
      }
    },
    owned,
    async stop() {
      stopper.abort()
      kick()
      await Promise.all(inFlight)
      settling.now()
      await Promise.all(inFlight)
      reader.disconnect()
      await running
    },
  }
}
