/** Putting a range together from rows of two sources. Pure. */
import type { Entry, logicRpc } from '@tidings/protocol'

/** One entry, or seqs that hold none. Both ends included. */
export interface Span {
  from: number
  to: number
  entry?: Entry
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
 * The newest `limit` spans below `upper`, of spans in any order with doubles. The range ends at `upper - 1` and begins at the oldest
 * span taken, or at 1 when there were fewer than `limit`.
 */
export function gatherDown(spans: readonly Span[], upper: number, limit: number): Gathered {
  const rows = distinct(spans)
    .filter(({ from }) => from < upper)
    .slice(-limit)
  return gathered(rows, rows.length < limit ? 1 : rows[0]!.from, upper - 1)
}

/** The oldest `limit` spans above `after`. The range ends at the newest span taken, or at the head when there were fewer. */
export function gatherUp(spans: readonly Span[], after: number, head: number, limit: number): Gathered {
  const rows = distinct(spans)
    .filter(({ to }) => to > after)
    .slice(0, limit)
  return gathered(rows, after + 1, rows.length < limit ? Math.max(head, rows.at(-1)?.to ?? 0) : rows.at(-1)!.to)
}

/** Ascending by seq; of two at one seq the first given stays. An entry beats a void that covers it. */
function distinct(spans: readonly Span[]): Span[] {
  const bySeq = new Map<number, Span>()
  for (const span of spans) {
    const known = bySeq.get(span.from)
    if (!known || (!known.entry && span.entry)) bySeq.set(span.from, span)
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
