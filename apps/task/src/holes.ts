/**
 * Holes: entries that persist was never given. Whoever trims a stream, sets a group ahead, or destroys one and makes it anew lets the
 * group pass over entries, and Redis shows no sign of it: its lag is 0. But seqs have no gaps. So an entry whose predecessor has no
 * row shows a hole, and so does a head that the rows do not come to although everything is settled. The conversation's log still
 * has what is missing, for a time; what it does not have is lost, is reported, and becomes a void, so that readers pass it.
 *
 * Rows are written upwards, without a gap: the highest row of a conversation tells that all below it is stored.
 */
import { type Entry, rangesBetween, type SeqRange, voidEntry, voidRange } from '@tidings/protocol'
import { groupBy, type Logger } from '@tidings/service'
import { type FencedEntry, insertEntries, insertTombstone, reachedBy, type Store } from '@tidings/store'
import {
  type Delivery,
  type Keys,
  type LogReader,
  type LookedUpTo,
  type Owner,
  type Redis,
  settledHeads,
} from '@tidings/stream'
import { LRUCache } from 'lru-cache'
import type { HoleMetrics } from './metrics.js'

const MAX_REMEMBERED = 50_000
/** Entries of a log that are stored at once. */
const AT_ONCE = 500
/** How long a loss keeps the process from being ready, so that somebody sees it. */
const ALARM_MS = 10 * 60_000

/** A batch with nothing missing below it. */
export interface Closed {
  /** The conversations in it that their owner meets for the first time. */
  met: string[]
  /** All of the batch is stored now. Without this word it is asked for again, no more. */
  stored(): void
}

/** Up to where a conversation is stored, by what its owner under this fence knows. */
interface Reached {
  seq: number
  fence: number
}

export interface Holes {
  /** Stores what is missing below these entries. @throws AppError `unavailable`: repeat it */
  closeBelow(batch: readonly Delivery[]): Promise<Closed>
  /** As `closeBelow`, for a single seq whose entry cannot be read. */
  closeBelowSeq(owner: Owner, conversation: string, seq: number): Promise<void>
  /**
   * Compares the heads of the conversations that changed since the last look with their rows, and stores what is missing: after an
   * entry that was passed over perhaps nothing follows.
   * @param quiet nothing of the partition is in anybody's hands: only then what is missing is known to be missing
   * @returns false when an earlier look still runs, or something had to wait, or there is a newer owner
   * @throws AppError `unavailable`: the next look does it
   */
  compare(owner: Owner, quiet: () => boolean): Promise<boolean>
  /** Rejects for a while after something was lost. */
  check(): Promise<void>
}

export function createHoles(deps: {
  store: Store
  redis: Redis
  keys: Keys
  reader: LogReader
  log: Logger
  metrics: HoleMetrics
}): Holes {
  const { store, redis, keys, reader, log, metrics } = deps
  const reached = new LRUCache<string, Reached>({ max: MAX_REMEMBERED })
  /** The last look at a partition, under which fence. */
  const looks = new Map<number, LookedUpTo & { fence: number }>()
  const comparing = new Set<number>()
  let lost = 0
  let lostAt = Number.NEGATIVE_INFINITY

  function reachedUnder(fence: number, conversation: string): number | undefined {
    const known = reached.get(conversation)
    return known?.fence === fence ? known.seq : undefined
  }

  /**
   * Stores what is missing of a conversation between its highest row and these seqs' end.
   * @param n of that row
   * @param quiet when it is not, voids wait: an entry that belongs into one may be in somebody's hands
   * @returns false when something had to wait, or there is a newer owner
   */
  async function fill(
    owner: Owner,
    conversation: string,
    { from, to }: SeqRange,
    n: number,
    quiet: () => boolean,
  ): Promise<boolean> {
    // Beyond the head nothing was given out: a seq up there was written by hand.
    const [head] = await reader.heads([conversation])
    for (let next = from; next <= to; ) {
      const { entries: found, upTo } = await reader.readable(conversation, next - 1, AT_ONCE, to)
      const gone = rangesBetween({ from: next, to: upTo }, found.map(spanOf))
        .filter((range) => range.from <= head!)
        .map((range) => ({ from: range.from, to: Math.min(range.to, head!) }))
      const isVoid = found.some(({ type }) => type === 'void')
      if ((gone.length > 0 || isVoid) && !quiet()) return false
      const rows: FencedEntry[] = found.map((entry) => ({ ...owner, entry }))
      for (const range of gone) {
        const before = found.findLast(({ seq }) => seq < range.from)?.n ?? n
        rows.push({ ...owner, entry: voidEntry(conversation, range, before, Date.now()), reason: 'lost' })
      }
      if (rows.length > 0 && !(await keep(conversation, rows))) return false
      report(owner, conversation, found, gone)
      n = found.at(-1)?.n ?? n
      next = upTo + 1
    }
    return true
  }

  /** @returns false when there is a newer owner */
  async function keep(conversation: string, rows: readonly FencedEntry[]): Promise<boolean> {
    const { fenced, conflicts } = await insertEntries(store, rows, 'persist', [conversation])
    if (fenced.size > 0) return false
    for (const { entry, reason } of conflicts) {
      await insertTombstone(store, { conversation, seq: entry.seq, reason, n: entry.n })
    }
    return true
  }

  function report(
    { partition }: Owner,
    conversation: string,
    found: readonly Entry[],
    gone: readonly SeqRange[],
  ): void {
    if (found.length > 0) {
      metrics.filled(found.length)
      const [first, last] = [found[0]!.seq, found.at(-1)!.seq]
      log.warn(
        { partition, conversation, first, last, entries: found.length },
        'stored from the log, for persist was never given them',
      )
    }
    if (gone.length > 0) {
      const seqs = gone.reduce((sum, { from, to }) => sum + to - from + 1, 0)
      metrics.lost(seqs)
      lost += seqs
      lostAt = performance.now()
      log.error(
        { partition, conversation, seqs, ranges: gone.slice(0, 10) },
        'entries are lost: neither stream nor log has them',
      )
    }
  }

  async function closeDoubtful(batch: readonly Delivery[], doubtful: ReadonlySet<string>): Promise<void> {
    const ofDoubtful = batch.filter(({ entry }) => doubtful.has(entry.conversation))
    const rows = await reachedBy(store, [...doubtful])
    for (const [conversation, deliveries] of groupBy(ofDoubtful, ({ entry }) => entry.conversation)) {
      let { seq, n } = rows.get(conversation) ?? { seq: 0, n: 0 }
      for (const { partition, fence, entry } of deliveries.sort((a, b) => a.entry.seq - b.entry.seq)) {
        const below = { from: seq + 1, to: firstOf(entry) - 1 }
        if (below.from <= below.to) await fill({ partition, fence }, conversation, below, n, () => true)
        if (entry.seq > seq) ({ seq, n } = entry)
      }
    }
  }

  async function look(owner: Owner, quiet: () => boolean): Promise<boolean> {
    const { partition, fence } = owner
    const last = looks.get(partition)
    const since = last?.fence === fence ? last : undefined
    const at = performance.now()
    let upTo: number | undefined
    let whole = true
    for (let page: string | undefined; ; ) {
      const found = await settledHeads(redis, keys, 'persist', partition, { since, page })
      if (!found) return false
      upTo ??= found.redisMs
      const behind = found.heads.filter(({ conversation, head }) => (reachedUnder(fence, conversation) ?? 0) < head)
      const rows = await reachedBy(
        store,
        behind.map(({ conversation }) => conversation),
      )
      for (const { conversation, head } of behind) {
        const { seq, n } = rows.get(conversation) ?? { seq: 0, n: 0 }
        if (seq < head && !(await fill(owner, conversation, { from: seq + 1, to: head }, n, quiet))) whole = false
      }
      page = found.next
      if (page === undefined) break
    }
    if (whole) looks.set(partition, { fence, redisMs: upTo, at })
    return whole
  }

  return {
    async closeBelow(batch) {
      const met: string[] = []
      const doubtful = new Set<string>()
      const seen = new Map<string, Reached>()
      for (const { fence, entry } of batch) {
        const { conversation, seq } = entry
        let upTo = seen.get(conversation)
        if (!upTo) {
          const known = reachedUnder(fence, conversation)
          if (known === undefined) met.push(conversation)
          upTo = { seq: known ?? 0, fence }
          seen.set(conversation, upTo)
        }
        if (firstOf(entry) > upTo.seq + 1) doubtful.add(conversation)
        if (seq > upTo.seq) upTo.seq = seq
      }
      if (doubtful.size > 0) await closeDoubtful(batch, doubtful)
      return {
        met,
        stored() {
          for (const [conversation, upTo] of seen) reached.set(conversation, upTo)
        },
      }
    },
    async closeBelowSeq(owner, conversation, seq) {
      const { seq: top, n } = (await reachedBy(store, [conversation])).get(conversation) ?? { seq: 0, n: 0 }
      if (top < seq - 1) await fill(owner, conversation, { from: top + 1, to: seq - 1 }, n, () => true)
    },
    async compare(owner, quiet) {
      if (comparing.has(owner.partition)) return false
      comparing.add(owner.partition)
      try {
        return await look(owner, quiet)
      } finally {
        comparing.delete(owner.partition)
      }
    },
    async check() {
      if (performance.now() - lostAt < ALARM_MS)
        throw new Error(`${lost} entries were lost: neither stream nor log had them`)
    },
  }
}

/** An entry stands for one seq, a void for all that it declares empty; both stand at their last. */
const firstOf = (entry: Entry): number => (entry.type === 'void' ? voidRange(entry).from : entry.seq)

const spanOf = (entry: Entry): SeqRange => ({ from: firstOf(entry), to: entry.seq })
