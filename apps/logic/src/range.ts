/** Putting a range together from rows of two sources. Pure. */
import { type Entry, type logicRpc, rangesBetween } from '@tidings/protocol'

/** One entry, or seqs that hold none. Both ends included. */
export interface Span {
  from: number
  to: number
  entry?: Entry
  /** It was removed for its age, and so was everything below it. */
  expired?: boolean
}

export interface Gathered {
  /** Ascending. */
  rows: Span[]
  /** The part of the voids inside the range. */
  voids: logicRpc.Void[]
  /** Every seq of the range is an entry or a void. */
  complete: boolean
}

/**
 * The newest `limit` entries below `upper` and the voids beside them, of spans in any order with doubles. The range ends at `upper - 1`
 * and begins at the oldest span taken, or above `floor` when there were fewer entries; what is not above it does not count.
 */
export function gatherDown(spans: readonly Span[], upper: number, limit: number, floor = 0): Gathered {
  const below = distinct(spans).filter(({ from, to }) => from < upper && to > floor)
  const { taken, full } = takeEntries(below.reverse(), limit)
  return gathered(taken.reverse(), full ? taken[0]!.from : floor + 1, upper - 1)
}

/**
 * The oldest `limit` entries above `after` and the voids beside them. The range ends at the newest span taken, or at the head when there
 * were fewer entries.
 */
export function gatherUp(spans: readonly Span[], after: number, head: number, limit: number): Gathered {
  const above = distinct(spans).filter(({ to }) => to > after)
  const { taken, full } = takeEntries(above, limit)
  return gathered(taken, after + 1, full ? taken.at(-1)!.to : Math.max(head, taken.at(-1)?.to ?? 0))
}

/** Spans up to the `limit`th entry: whoever counts messages must not take a page with a void in it for the last one. */
function takeEntries(spans: readonly Span[], limit: number): { taken: Span[]; full: boolean } {
  const taken: Span[] = []
  let entries = 0
  for (const span of spans) {
    if (entries === limit) break
    taken.push(span)
    if (span.entry) entries++
  }
  return { taken, full: entries === limit }
}

/** Ascending by seq; of two at one seq the first given stays. A void is what of it no entry has. */
function distinct(spans: readonly Span[]): Span[] {
  const entries = new Map<number, Span>()
  for (const span of spans) if (span.entry && !entries.has(span.from)) entries.set(span.from, span)
  const ascending = [...entries.values()].sort((a, b) => a.from - b.from)
  const bySeq = new Map<number, Span>(entries)
  for (const span of spans) {
    if (span.entry) continue
    const inside = ascending.filter(({ from }) => from >= span.from && from <= span.to)
    for (const part of rangesBetween(span, inside)) if (!bySeq.has(part.from)) bySeq.set(part.from, part)
  }
  return [...bySeq.values()].sort((a, b) => a.from - b.from)
}

function gathered(rows: Span[], first: number, last: number): Gathered {
  const voids: logicRpc.Void[] = []
  let next = first
  let complete = true
  for (const [i, { from, to, entry }] of rows.entries()) {
    if (from > next) complete = false
    if (!entry) {
      // Up to the entry that follows: a void never covers one.
      const end = Math.min(to, last, (rows[i + 1]?.from ?? Number.MAX_SAFE_INTEGER) - 1)
      const begin = Math.max(from, first)
      if (begin <= end) voids.push({ from: begin, to: end })
      next = Math.max(next, end + 1)
    } else next = Math.max(next, to + 1)
  }
  return { rows, voids, complete: complete && next > last }
}
