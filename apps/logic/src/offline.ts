/**
 * What a device has not acknowledged, in pages: conversation by conversation in the order of their names, and by seq within one. That
 * order does not depend on time, so an entry that arrives between two pages moves none that was not listed yet. It is listed too
 * when its conversation is still to come; otherwise the next listing has it.
 *
 * What a leap has skipped is void only when persist has stored it so: an entry that Redis forgot may still be in a worker's hands. Until
 * then the listing of that conversation ends before it, and says so by a gap; the next listing goes on there.
 */
import { AppError, type logicRpc, voidRange } from '@tidings/protocol'
import { standingsOf } from './cursors.js'
import type { Devices } from './devices.js'
import { readStandingHeads } from './heads.js'
import { type HistoryDeps, readRange } from './history.js'
import { deviceOf, limitOf, userOf } from './input.js'
import type { ListingCursors } from './listing-cursor.js'
import { unwrap } from './outcome.js'

const LIMIT = { default: 100, max: 500 }
/** A page ends early when it holds this many characters of content. */
const ENOUGH_CONTENT = 1024 * 1024
/** Conversations that are read at the same time. */
const AT_ONCE = 16
/** Entries in one read of a conversation. */
const READ = 200

export interface OfflineDeps extends HistoryDeps {
  devices: Devices
  listingCursors: ListingCursors
}

/** The seqs `after + 1` to `to` of a conversation, which reaches to `head`. */
interface Part {
  conversation: string
  /** The user may read what is above it. */
  floor: number
  after: number
  to: number
  head: number
}

interface Listed {
  entries: logicRpc.HistoryEntry[]
  voids: logicRpc.Void[]
  /** Every seq up to here is an entry or in a void. */
  upTo: number
  /** What nobody can tell about yet; the listing of the conversation ends before it. */
  gap?: logicRpc.Void
}

/**
 * Opens the device as a connection would; moves no cursor. A page may be shorter than asked for: `nextCursor` alone tells the end.
 * @throws AppError `invalid_request`, also for a cursor of another listing; `unavailable` when a needed source is away
 */
export async function readOffline(
  deps: OfflineDeps,
  request: logicRpc.ReadOfflineRequest,
): Promise<logicRpc.ReadOfflineResponse> {
  const user = userOf(request.user)
  const device = deviceOf(request.device)
  const limit = limitOf(request.limit, LIMIT)
  const from = request.cursor === '' ? undefined : deps.listingCursors.open(request.cursor, user, device)
  const oldest = from?.oldest ?? request.fromOldest
  const opened = unwrap((await deps.devices.open([{ user, device }]))[0]!)
  const toCome = (await standingsOf(deps, opened))
    .filter(({ conversation }) => !from || conversation >= from.conversation)
    .sort((a, b) => (a.conversation < b.conversation ? -1 : 1))
  const heads = await readStandingHeads(
    deps,
    toCome.map(({ conversation }) => conversation),
  )
  const parts = toCome.flatMap(({ conversation, cursor, floor }): Part[] => {
    const start = oldest ? floor : cursor
    const after = conversation === from?.conversation ? Math.max(start, from.seq) : start
    const head = heads.get(conversation)!
    return head > after ? [{ conversation, floor, after, to: head, head }] : []
  })
  const { end, ...page } = await readPage(deps, withinLimit(parts, limit))
  const last = parts.at(-1)
  const atEnd = !end || (end.conversation === last?.conversation && end.seq >= last.head)
  return { ...page, nextCursor: atEnd ? '' : deps.listingCursors.seal({ ...end, oldest }, user, device) }
}

/** The first parts, the last of them shortened, that hold `limit` seqs together. */
function withinLimit(parts: readonly Part[], limit: number): Part[] {
  const taken: Part[] = []
  let left = limit
  for (const part of parts) {
    if (left === 0) break
    const to = Math.min(part.to, part.after + left)
    taken.push({ ...part, to })
    left -= to - part.after
  }
  return taken
}

async function readPage(deps: OfflineDeps, parts: readonly Part[]) {
  const entries: logicRpc.HistoryEntry[] = []
  const voids: logicRpc.OfflineVoids[] = []
  const gaps: logicRpc.OfflineGap[] = []
  let end: { conversation: string; seq: number } | undefined
  let length = 0
  for (let at = 0; at < parts.length; at += AT_ONCE) {
    const some = parts.slice(at, at + AT_ONCE)
    const listed = await Promise.all(some.map((part) => readPart(deps, part)))
    for (const [i, { conversation, to, head }] of some.entries()) {
      const one = listed[i]!
      entries.push(...one.entries)
      if (one.voids.length > 0) voids.push({ conversation, voids: one.voids })
      if (one.gap) gaps.push({ conversation, ...one.gap })
      // Behind a gap nothing more comes in this listing.
      end = { conversation, seq: one.gap ? head : one.upTo }
      length += lengthOf(one.entries)
      if (length >= ENOUGH_CONTENT || end.seq < to) return { entries, voids, gaps, end }
    }
  }
  return { entries, voids, gaps, end }
}

const lengthOf = (entries: readonly logicRpc.HistoryEntry[]): number =>
  entries.reduce((sum, { content, extra }) => sum + content.length + extra.length, 0)

/** All of a part, or as much from its beginning as fills a page. */
async function readPart(deps: OfflineDeps, { conversation, floor, after, to }: Part): Promise<Listed> {
  const listed: Listed = { entries: [], voids: [], upTo: after }
  for (let length = 0; listed.upTo < to && length < ENOUGH_CONTENT; ) {
    const limit = Math.min(to - listed.upTo, READ)
    const range = { before: 0, after: listed.upTo, fromStart: true, limit }
    const page = await readRange(deps, conversation, floor, range)
    const upTo = wholeUpTo(listed.upTo, page)
    const entries = page.entries.filter(({ seq }) => seq <= upTo)
    listed.entries.push(...entries)
    listed.voids.push(...page.voids.filter(({ to: end }) => end <= upTo))
    const stopped = upTo <= listed.upTo || !page.complete
    listed.upTo = upTo
    length += lengthOf(entries)
    if (!stopped) continue
    const gap = await leapAbove(deps, conversation, upTo)
    // Any other hole is not passed over: whoever acknowledged what follows would never get what is missing. Nor is a head that went down.
    if (!gap) throw new AppError('unavailable', 'An entry cannot be read now.', { retryAfter: 1 })
    return { ...listed, gap }
  }
  return listed
}

/** Up to where a page, which begins above `after`, has an entry or a void at every seq. */
function wholeUpTo(after: number, { entries, voids }: logicRpc.ReadHistoryResponse): number {
  const spans = [...entries.map(({ seq }) => ({ from: seq, to: seq })), ...voids].sort((a, b) => a.from - b.from)
  let upTo = after
  for (const { from, to } of spans) if (from <= upTo + 1) upTo = Math.max(upTo, to)
  return upTo
}

/** What a leap has skipped above a seq, where that is what follows in the log. */
async function leapAbove(
  { reader }: OfflineDeps,
  conversation: string,
  seq: number,
): Promise<logicRpc.Void | undefined> {
  const [next] = await reader.after(conversation, seq, 1)
  if (next?.type !== 'void' || voidRange(next).from > seq + 1) return undefined
  return { from: seq + 1, to: next.seq }
}
