/** Ranges of a conversation: the newest entries from its log in Redis, those below from MySQL, as one. */
import {
  AppError,
  type Conversation,
  type Entry,
  type logicRpc,
  requirePossibleParty,
  seenNow,
} from '@tidings/protocol'
import { findUser, readEntries, type Store, type StoredEntry } from '@tidings/store'
import type { LogReader } from '@tidings/stream'
import { readHeads } from './heads.js'
import { limitOf, seqOf, userOf } from './input.js'
import { type Gathered, gatherDown, gatherUp, type Span } from './range.js'
import { floorOf, type MembershipDeps } from './rooms/membership.js'

const LIMIT = { default: 50, max: 200 }
/** Voids of leaps that may lie between the entries of a log: it is read that much further. */
const LOG_EXTRA = 8

type RangeDeps = Pick<HistoryDeps, 'store' | 'reader'>

export interface HistoryDeps extends MembershipDeps {
  store: Store
  reader: LogReader
}

/** What of a conversation is read. */
export interface Range {
  /** 0: none. */
  before: number
  after: number
  fromStart: boolean
  limit: number
  /** What was removed for its age is refused; otherwise it is a void. */
  refuseExpired?: boolean
}

/** As it may be shown now. */
export function toHistoryEntry(stored: Entry): logicRpc.HistoryEntry {
  const { trace: _, extra = '', options = '', ...entry } = seenNow(stored)
  return { ...entry, extra, options }
}

/**
 * Of a room, what lies above the reader's floor: below it there is nothing.
 * @throws AppError `conversation_not_found`, `invalid_request`, `cursor_too_old` where that is wanted, `unavailable` when a source that is
 * needed is away: what comes back is never short for that reason
 */
export async function readHistory(
  deps: HistoryDeps,
  request: logicRpc.ReadHistoryRequest,
): Promise<logicRpc.ReadHistoryResponse> {
  const user = userOf(request.user)
  const before = seqOf('before', request.before)
  const after = seqOf('after', request.after)
  const limit = limitOf(request.limit, LIMIT)
  const { fromStart, refuseExpired = false } = request
  if (before > 0 && (after > 0 || fromStart)) {
    throw new AppError('invalid_request', 'Give before or after, not both.')
  }
  const conversation = requirePossibleParty(request.conversation, user)
  const floor = await floorOf(deps, user, conversation)
  const range = { before, after, fromStart, limit, refuseExpired }
  const page = await readRange(deps, conversation.id, floor, range)
  if (page.head === 0) await requireOtherParty(deps.store, conversation, user)
  return page
}

/**
 * For one who may read what is above `floor`; who may is asked before.
 * @throws AppError `cursor_too_old` where that is wanted, `unavailable`
 */
export async function readRange(
  deps: RangeDeps,
  conversation: string,
  floor: number,
  { before, after, fromStart, limit, refuseExpired = false }: Range,
): Promise<logicRpc.ReadHistoryResponse> {
  const head = (await readHeads(deps, [conversation])).get(conversation)!
  if (head === 0) return { entries: [], voids: [], head, complete: true }
  const gathered =
    after > 0 || fromStart
      ? await readUp(deps, conversation, { after: Math.max(after, floor), head, limit, refuseExpired })
      : await readDown(deps, conversation, {
          ...{ upper: before > 0 ? Math.min(before, head + 1) : head + 1, floor, limit },
          refuseExpired: refuseExpired && before > 0,
        })
  return toResponse(gathered, head)
}

/** A conversation in which nothing was said exists when the other person does. @throws AppError `conversation_not_found`, `unavailable` */
export async function requireOtherParty(store: Store, conversation: Conversation, user: string): Promise<void> {
  if (conversation.kind !== 'dm') return
  const other = conversation.users[0] === user ? conversation.users[1] : conversation.users[0]
  if (other === user) return
  const row = await findUser(store, other)
  if (!row || row.deletedAt) {
    throw new AppError('conversation_not_found', 'There is no such conversation, or you are not in it.')
  }
}

function toResponse({ rows, voids, complete }: Gathered, head: number): logicRpc.ReadHistoryResponse {
  const entries = rows.flatMap(({ entry }) => (entry ? [toHistoryEntry(entry)] : []))
  return { entries, voids, head, complete }
}

/**
 * The newest rows below `upper` and above `floor`. The log first, MySQL second: what is trimmed from the log in between is in MySQL by then.
 * MySQL is not asked when the log holds all of it. What was removed for its age is below the range, not in it.
 */
async function readDown(
  { store, reader }: RangeDeps,
  conversation: string,
  { upper, floor, limit, refuseExpired }: { upper: number; floor: number; limit: number; refuseExpired: boolean },
): Promise<Gathered> {
  if (upper <= floor + 1) return { rows: [], voids: [], complete: true }
  const log = (await reader.before(conversation, upper, limit + LOG_EXTRA)).flatMap(fromLog)
  const alone = gatherDown(log, upper, limit, floor)
  if (alone.complete) return alone
  const stored = await storedBelow({ store, reader }, conversation, upper, floor, limit)
  const bottom = bottomOf(stored, { upper, floor, refuseExpired })
  const both = gatherDown([...log, ...stored], upper, limit, bottom)
  if (both.complete) return both
  // What lies below `upper` may be the inside of a void that ends at or above it.
  const around = await readStored({ store, reader }, conversation, { after: upper - 1, limit: 1 })
  const lowest = bottomOf(around, { upper, floor: bottom, refuseExpired })
  return gatherDown([...log, ...stored, ...around], upper, limit, lowest)
}

/** Where a range ends that reaches down to what was removed for its age. @throws AppError `cursor_too_old` when all of it lies below */
function bottomOf(
  spans: readonly Span[],
  { upper, floor, refuseExpired }: { upper: number; floor: number; refuseExpired: boolean },
): number {
  const expired = expiredIn(spans)
  if (!expired || expired.to <= floor) return floor
  if (refuseExpired && upper <= expired.to + 1) throw cursorTooOld(expired.to)
  return expired.to
}

const expiredIn = (spans: readonly Span[]): Span | undefined => spans.find(({ expired }) => expired)

const cursorTooOld = (floor: number): AppError =>
  new AppError('cursor_too_old', `Nothing up to seq ${floor} is kept any more. Go on after it.`, { details: { floor } })

/** The oldest rows above `after`, up to the head. */
async function readUp(
  { store, reader }: RangeDeps,
  conversation: string,
  { after, head, limit, refuseExpired }: { after: number; head: number; limit: number; refuseExpired: boolean },
): Promise<Gathered> {
  if (after >= head) return { rows: [], voids: [], complete: true }
  const log = (await reader.after(conversation, after, limit + LOG_EXTRA)).flatMap(fromLog)
  const alone = gatherUp(log, after, head, limit)
  if (alone.complete) return alone
  const stored = await storedAbove({ store, reader }, conversation, after, limit)
  const expired = expiredIn(stored)
  if (refuseExpired && expired) throw cursorTooOld(expired.to)
  return gatherUp([...log, ...stored], after, head, limit)
}

/** Rows of MySQL, and what was changed of them that it does not know yet. */
async function readStored(
  { store, reader }: RangeDeps,
  conversation: string,
  range: Parameters<typeof readEntries>[2],
): Promise<Span[]> {
  const rows = await readEntries(store, conversation, range)
  const entries = await reader.foldStored(rows.flatMap(({ entry, void: gone }) => (gone ? [] : [entry])))
  const bySeq = new Map(entries.map((entry) => [entry.seq, entry]))
  return rows.map((row) => fromStore({ ...row, entry: bySeq.get(row.entry.seq) ?? row.entry }))
}

/** Rows below `upper` until `limit` of them are entries, or there are no more above `floor`. */
async function storedBelow(
  deps: RangeDeps,
  conversation: string,
  upper: number,
  floor: number,
  limit: number,
): Promise<Span[]> {
  const spans: Span[] = []
  for (let before = upper, left = limit; left > 0; ) {
    const rows = await readStored(deps, conversation, { before, limit: left })
    spans.unshift(...rows)
    if (rows.length < left || rows[0]!.from <= floor + 1) break
    before = rows[0]!.to
    left -= rows.filter(({ entry }) => entry).length
  }
  return spans
}

/** Rows above `after` until `limit` of them are entries, or there are no more. */
async function storedAbove(deps: RangeDeps, conversation: string, after: number, limit: number): Promise<Span[]> {
  const spans: Span[] = []
  for (let last = after, left = limit; left > 0; ) {
    const rows = await readStored(deps, conversation, { after: last, limit: left })
    spans.push(...rows)
    if (rows.length < left) break
    last = rows.at(-1)!.to
    left -= rows.filter(({ entry }) => entry).length
  }
  return spans
}

/** A void in a log is a leap's, and may have rows in it that were on their way to MySQL: only MySQL says what is void. */
const fromLog = (entry: Entry): Span[] => (entry.type === 'void' ? [] : [{ from: entry.seq, to: entry.seq, entry }])

const fromStore = ({ entry, void: range }: StoredEntry): Span => range ?? { from: entry.seq, to: entry.seq, entry }
