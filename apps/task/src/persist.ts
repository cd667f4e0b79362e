/**
 * The other branch, persist: accepted entries into MySQL, a batch at a time, idempotent on (conversation, seq). From the `persist`
 * group; to MySQL. Promise: an entry is settled only after its row is committed, under a fence that no newer owner has raised, and the
 * rows of a conversation have no hole below it (holes.ts). On failure: MySQL away pauses the group and counts against no entry; a row
 * that MySQL will never take becomes a dead letter with a tombstone in its place, so that readers pass it.
 */
import { AppError, parseConversation } from '@tidings/protocol'
import {
  type Logger,
  type MetricsRegistry,
  type Span,
  type StageMetrics,
  stageMetrics,
  type Tracing,
} from '@tidings/service'
import { insertEntries, insertTombstone, raiseFence, type Store } from '@tidings/store'
import {
  createLogReader,
  type Delivery,
  type Exceptions,
  type Handler,
  type Keys,
  type Owner,
  type Redis,
  trimLog,
} from '@tidings/stream'
import { createHoles } from './holes.js'
import { createHoleMetrics } from './metrics.js'

const ROWS_PER_INSERT = 500
/** A conversation's log is trimmed once in this many entries. */
const TRIM_EVERY = 256

export interface Persister extends Handler {
  /**
   * Finds entries of a partition that the group was never given, and stores them.
   * @param quiet nothing of the partition is in the handler's hands
   * @returns false when an earlier look still runs, or something had to wait, or there is a newer owner
   * @throws AppError `unavailable`: the next time does it
   */
  compare(owner: Owner, quiet: () => boolean): Promise<boolean>
  /** Entries that it has finished with so far. */
  readonly stored: number
  /** Rejects for a while after entries were found to be lost. */
  checkLost(): Promise<void>
}

export function createPersister(deps: {
  store: Store
  redis: Redis
  keys: Keys
  log: Logger
  metrics: MetricsRegistry
  tracing: Tracing
}): Persister {
  const { store, redis, keys, log, tracing } = deps
  const reader = createLogReader(redis, keys)
  const metrics: StageMetrics = stageMetrics(deps.metrics, 'persist')
  /** Fence under which this process has raised its claim in MySQL, by partition. */
  const raised = new Map<number, number>()
  let stored = 0
  const holes = createHoles({ store, redis, keys, reader, log, metrics: createHoleMetrics(deps.metrics) })

  /** Before the first row under a new fence: from here on an older owner's transactions fail. */
  async function raise(owners: readonly Owner[]): Promise<Map<number, number>> {
    const fenced = new Map<number, number>()
    for (const { partition, fence } of owners) {
      if (raised.get(partition) === fence || fenced.has(partition)) continue
      const newer = await raiseFence(store, 'persist', partition, fence)
      if (newer === undefined) raised.set(partition, fence)
      else fenced.set(partition, newer)
    }
    return fenced
  }

  async function insert(batch: readonly Delivery[]): Promise<Required<Exceptions>> {
    const closed = await holes.closeBelow(batch)
    const { fenced, conflicts } = await insertEntries(store, batch, 'persist', closed.met)
    const reasons = new Map(conflicts.map(({ entry, reason }) => [entry, reason]))
    if (fenced.size + reasons.size === 0) closed.stored()
    return {
      fenced,
      poisoned: batch.flatMap((delivery) => {
        const reason = reasons.get(delivery.entry)
        return reason === undefined ? [] : [{ delivery, reason }]
      }),
    }
  }

  async function trimLogs(stored: readonly Delivery[]): Promise<void> {
    const due = stored.filter(({ entry }) => entry.seq % TRIM_EVERY === 0)
    await Promise.all(due.map(({ entry }) => trimLog(redis, keys, entry.conversation, entry.seq)))
  }

  return {
    async handle(batch) {
      const began = performance.now()
      const spans: Span[] = tracing.enabled
        ? batch.map(({ entry }) =>
            tracing.start('persist', entry.trace, { conversation: entry.conversation, seq: entry.seq }),
          )
        : []
      const fenced = await raise(batch)
      const poisoned: { delivery: Delivery; reason: string }[] = []
      const open = batch.filter(({ partition }) => !fenced.has(partition))
      for (let i = 0; i < open.length; i += ROWS_PER_INSERT) {
        const result = await insert(open.slice(i, i + ROWS_PER_INSERT))
        poisoned.push(...result.poisoned)
        for (const [partition, newer] of result.fenced) fenced.set(partition, newer)
      }
      metrics.done(performance.now() - began, batch.length)
      stored += batch.length
      if (poisoned.length > 0) metrics.failed('poison', poisoned.length)
      for (const span of spans) span.end()
      // Only a matter of memory: whatever comes of it, these entries are stored.
      const without = new Set(poisoned.map(({ delivery }) => delivery))
      const rows = open.filter((one) => !fenced.has(one.partition) && !without.has(one))
      trimLogs(rows).catch((error: unknown) => log.warn({ err: error }, 'trimming a log'))
      return { poisoned, fenced }
    },
    async bury(owner, fields, reason) {
      const named = (name: string): string | undefined => {
        const at = fields.findIndex((field, i) => i % 2 === 0 && field === name)
        return at === -1 ? undefined : fields[at + 1]
      }
      const conversation = named('conversation') ?? ''
      const seq = Number(named('seq'))
      if (!parseConversation(conversation) || keys.partitionOf(conversation) !== owner.partition) return
      // Written by hand beyond the head: nobody is waiting there, and a tombstone would stand in the way of a real entry.
      const [head] = await reader.heads([conversation])
      if (!(seq >= 1 && seq <= head!)) return
      const fenced = await raise([owner])
      // Above a hole it would hide it: the highest row tells that all below is stored.
      if (!fenced.has(owner.partition)) await holes.closeBelowSeq(owner, conversation, seq)
      await insertTombstone(store, { conversation, seq, reason })
    },
    async compare(owner, quiet) {
      try {
        const fenced = await raise([owner])
        return fenced.size === 0 && (await holes.compare(owner, quiet))
      } catch (error) {
        // A store that is away is said elsewhere.
        if (!(error instanceof AppError)) log.error({ err: error, ...owner }, 'heads cannot be compared with rows')
        throw error
      }
    },
    get stored() {
      return stored
    },
    checkLost: () => holes.check(),
  }
}
