/**
 * What a user has said in rooms that he or she is not in any more, or has come back to as somebody who may not read what was before: one's
 * own alone, as it was said. What others have made of it since is not told.
 */
import { AppError, type Entry, type logicRpc } from '@tidings/protocol'
import { maxSeq, nextLeftRoom, ownEntries } from '@tidings/store'
import { foldStored } from '@tidings/stream'
import { readHeads } from './heads.js'
import { type HistoryDeps, readRange, toHistoryEntry } from './history.js'
import { userOf } from './input.js'
import { membershipsOf } from './rooms/membership.js'

const LIMIT = 200
/** A room, and up to where it was read; without that all of it was. */
const CURSOR = /^(room:[A-Za-z0-9_-]{16})(?: (\d{1,16}))?$/

/**
 * The next page, room by room in the order of their names.
 * @throws AppError `invalid_request`, `unavailable`
 */
export async function readLeftRooms(
  deps: HistoryDeps,
  request: logicRpc.ReadLeftRoomsRequest,
): Promise<logicRpc.ReadLeftRoomsResponse> {
  const user = userOf(request.user)
  const from = placeOf(request.cursor)
  if (from?.seq !== undefined) return await readOwn(deps, user, from.conversation, from.seq)
  const room = await nextLeftRoom(deps.store, user, from?.conversation ?? '')
  if (!room) return { room: undefined, entries: [], nextCursor: '' }
  const { conversation, leftAt } = room
  const page = await readOwn(deps, user, conversation, 0)
  return { ...page, room: { conversation, leftAt: leftAt.getTime() } }
}

function placeOf(cursor: string): { conversation: string; seq?: number } | undefined {
  if (cursor === '') return undefined
  const [, conversation, seq] = CURSOR.exec(cursor) ?? []
  if (!conversation) throw new AppError('invalid_request', 'cursor is not one that a page of this list ended with.')
  return { conversation, ...(seq !== undefined && { seq: Number(seq) }) }
}

async function readOwn(
  deps: HistoryDeps,
  user: string,
  conversation: string,
  after: number,
): Promise<logicRpc.ReadLeftRoomsResponse> {
  const upTo = await endOf(deps, user, conversation)
  const { entries, reached } = after < upTo ? await pageOf(deps, user, conversation, after, upTo) : noMore(upTo)
  return {
    room: undefined,
    entries: entries.map((one) => ({ ...one, extra: ownExtra(one.extra) })),
    nextCursor: reached < upTo && reached > after ? `${conversation} ${reached}` : conversation,
  }
}

/** Whoever has come back reads the rest as all members do. */
async function endOf(deps: HistoryDeps, user: string, conversation: string): Promise<number> {
  const member = (await membershipsOf(deps, user, [conversation])).get(conversation)
  return member ? member.floor : (await readHeads(deps, [conversation])).get(conversation)!
}

const noMore = (reached: number): { entries: logicRpc.HistoryEntry[]; reached: number } => ({ entries: [], reached })

/** By MySQL, which can pass over what others said, and what persist has not stored yet from the log. */
async function pageOf(deps: HistoryDeps, user: string, conversation: string, after: number, upTo: number) {
  const stored = Math.min(upTo, await maxSeq(deps.store, conversation))
  if (after < stored) {
    const page = await ownEntries(deps.store, user, conversation, { after, upTo: stored, limit: LIMIT })
    const folded: Entry[] = await foldStored(deps.redis, deps.keys, page.entries)
    return { entries: folded.map(toHistoryEntry), reached: page.reached }
  }
  const range = { before: 0, after, fromStart: true, limit: LIMIT }
  const { entries, voids } = await readRange(deps, conversation, 0, range)
  const reached = Math.max(after, entries.at(-1)?.seq ?? 0, ...voids.map(({ to }) => to))
  return { entries: entries.filter(({ from, seq }) => from === user && seq <= upTo), reached }
}

/** When one has edited it, or that it is taken back; not who of the others has reacted to it. */
const ownExtra = (extra: string): string => extra.replace(/,?"reactions":.*$/s, '')
