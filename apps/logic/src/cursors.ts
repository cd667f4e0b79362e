/** Where devices stand: opened with a start that is fixed once, moved forward by acks. */
import { AppError, EVERYONE, type logicRpc, parseConversation, requirePossibleParty } from '@tidings/protocol'
import { groupBy } from '@tidings/service'
import type { Cursor, Store } from '@tidings/store'
import type { Keys, LogReader, Redis } from '@tidings/stream'
import type { Devices, OpenedDevice } from './devices.js'
import { readHeads, readStandingHeads } from './heads.js'
import { deviceOf, seqOf, userOf } from './input.js'
import { andThen, type Outcome, outcomes, unwrap } from './outcome.js'
import type { Receipts } from './receipts.js'
import { type MembershipDeps, membershipsOf, requireMember } from './rooms/membership.js'
import { loadScript } from './script.js'
import type { WriteBehind } from './write-behind.js'

/** Acks in one call to us, and cursors in one call to Redis. */
const MAX_ACKS = 10_000
const CHUNK = 500
/** Devices in one call to us, and those that are put back at the same time after Redis forgot them. */
const MAX_OPENS = 64
/** Positions in the answer to one call: far more than people have, and far less than a call may hold. */
const MAX_POSITIONS = 100_000

const moveForward = loadScript('ack.lua')
enum Moved {
  Unlisted = -1,
  Forward = 1,
  /** And no other device of the user has as much. */
  Furthest = 2,
}

export interface CursorDeps extends MembershipDeps {
  redis: Redis
  keys: Keys
  store: Store
  reader: LogReader
  devices: Devices
  writeBehind: WriteBehind
  receipts: Receipts
}

/** Where devices stand in every conversation of their users. Failures of each: AppError `invalid_request`, `unavailable`, `overloaded`. */
export async function openDevices(
  deps: CursorDeps,
  { devices }: logicRpc.OpenDevicesRequest,
): Promise<Outcome<logicRpc.Position[]>[]> {
  if (devices.length > MAX_OPENS) throw new AppError('invalid_request', `At most ${MAX_OPENS} devices in one call.`)
  const named = await outcomes(devices, ({ user, device }) => ({ user: userOf(user), device: deviceOf(device) }))
  const opened = withinCapacity(await andThen(named, (names) => deps.devices.open(names)))
  const standing = await andThen(opened, (each) => outcomes(each, (one) => standingsOf(deps, one)))
  return await andThen(standing, (each) => withHeads(deps, each))
}

/** A device is answered whatever it has; those that do not fit beside the ones before are to be asked for again. */
function withinCapacity(opened: readonly Outcome<OpenedDevice>[]): Outcome<OpenedDevice>[] {
  let positions = 0
  return opened.map((one) => {
    const own = one.value?.conversations.length ?? 0
    if (positions > 0 && positions + own > MAX_POSITIONS)
      return { error: new AppError('overloaded', 'Too much was asked for at once. Repeat it.', { retryAfter: 1 }) }
    positions += own
    return one
  })
}

type Standing = Omit<logicRpc.Position, 'head'>

/** Heads last: an entry that comes in between is then behind the head, not unknown. */
async function withHeads(
  deps: CursorDeps,
  standings: readonly (readonly Standing[])[],
): Promise<Outcome<logicRpc.Position[]>[]> {
  const all = [...new Set(standings.flatMap((ofOne) => ofOne.map(({ conversation }) => conversation)))]
  // Where that fails, each by itself: a shard that is away holds up its own conversations only.
  const headsOfAll = await readStandingHeads(deps, all).catch(() => undefined)
  return await outcomes(standings, async (ofOne) => {
    const own = ofOne.map(({ conversation }) => conversation)
    const heads = headsOfAll ?? (await readStandingHeads(deps, own))
    return ofOne.map((one) => ({ ...one, head: heads.get(one.conversation)! })).filter(isWorthTelling)
  })
}

/** Everybody is in `feed:*`; as long as nothing was ever pushed to all, nobody needs to be told. */
const isWorthTelling = ({ conversation, head, cursor }: logicRpc.Position): boolean =>
  conversation !== EVERYONE || head > 0 || cursor > 0

/**
 * A device's cursor in each conversation of its user; in a room it is never below the joining, in `feed:*` never below the user's own
 * beginning, and a room that the user is not in is left out. @throws AppError `unavailable`
 */
export async function standingsOf(
  deps: MembershipDeps,
  { user, cursors, conversations, feedStart }: OpenedDevice,
): Promise<Standing[]> {
  const memberships = await membershipsOf(deps, user, conversations)
  return conversations.flatMap((conversation) => {
    const cursor = cursors.get(conversation) ?? 0
    if (conversation === EVERYONE) {
      return [{ conversation, cursor: Math.max(cursor, feedStart ?? 0), joined: 0, floor: feedStart ?? cursor }]
    }
    if (!isRoom(conversation)) return [{ conversation, cursor, joined: 0, floor: 0 }]
    const member = memberships.get(conversation)
    if (!member) return []
    const { joined, floor } = member
    return [{ conversation, cursor: Math.max(cursor, joined - 1), joined, floor }]
  })
}

const isRoom = (conversation: string): boolean => parseConversation(conversation)?.kind === 'room'

/**
 * Moves cursors forward; a seq beyond the head counts as the head, or is refused where the caller wants it so, as is a room that the
 * user is not in. Cumulative: repeating it changes nothing.
 * @throws AppError `invalid_request`, `conversation_not_found`, `beyond_head`: nothing has moved; `limit_reached`, `overloaded`, `unavailable`: some may
 * have moved; repeat all
 */
export async function ack(
  deps: CursorDeps,
  request: { acks: readonly logicRpc.Ack[]; withinHead?: boolean },
): Promise<void> {
  if (request.acks.length > MAX_ACKS)
    throw new AppError('invalid_request', `At most ${MAX_ACKS} acknowledgements in one call.`)
  const strict = request.withinHead ?? false
  const newest = newestOf(request.acks.map(checkAck))
  // A node tells only of what it has shown. Whoever has left the room since moves a cursor that counts for nothing.
  if (strict) await requireMembers(deps, newest)
  const wanted = await clamp(deps, newest, strict)
  const unlisted = await move(deps, wanted)
  if (unlisted.length === 0) return
  // A device that acknowledges before it was opened, or that Redis has forgotten: it gets its start first.
  const devices = [...new Map(unlisted.map(({ user, device }) => [`${user} ${device}`, { user, device }])).values()]
  const refused = new Set<string>()
  for (let at = 0; at < devices.length; at += MAX_OPENS) {
    const names = devices.slice(at, at + MAX_OPENS)
    for (const [i, opened] of (await deps.devices.open(names)).entries()) {
      // What a node tells for others as well is not held up by a device that was removed and has no place any more.
      if (opened.error?.code === 'limit_reached' && !strict) refused.add(`${names[i]!.user} ${names[i]!.device}`)
      else unwrap(opened)
    }
  }
  const still = await move(
    deps,
    unlisted.filter(({ user, device }) => !refused.has(`${user} ${device}`)),
  )
  if (still.length > 0) throw new AppError('unavailable', 'A device was forgotten again. Repeat it.', { retryAfter: 1 })
}

function checkAck(given: logicRpc.Ack): Cursor {
  const user = userOf(given.user)
  const { id } = requirePossibleParty(given.conversation, user)
  return { user, device: deviceOf(given.device), conversation: id, seq: seqOf('seq', given.seq) }
}

function newestOf(cursors: readonly Cursor[]): Cursor[] {
  const newest = new Map<string, Cursor>()
  for (const cursor of cursors) {
    const key = `${cursor.user} ${cursor.device} ${cursor.conversation}`
    const known = newest.get(key)
    if (!known || known.seq < cursor.seq) newest.set(key, cursor)
  }
  return [...newest.values()]
}

/** @throws AppError `conversation_not_found`, `unavailable` */
async function requireMembers(deps: CursorDeps, cursors: readonly Cursor[]): Promise<void> {
  await Promise.all(
    cursors
      .filter(({ conversation }) => isRoom(conversation))
      .map((one) => requireMember(deps, one.user, one.conversation)),
  )
}

async function clamp(deps: CursorDeps, cursors: readonly Cursor[], withinHead: boolean): Promise<Cursor[]> {
  const heads = await readHeads(deps, [...new Set(cursors.map(({ conversation }) => conversation))])
  const beyond = withinHead && cursors.find(({ conversation, seq }) => seq > heads.get(conversation)!)
  if (beyond) {
    throw new AppError('beyond_head', `The newest seq of this conversation is ${heads.get(beyond.conversation)}.`)
  }
  return cursors
    .map((cursor) => ({ ...cursor, seq: Math.min(cursor.seq, heads.get(cursor.conversation)!) }))
    .filter(({ seq }) => seq > 0)
}

/** One call per Redis partition. @returns those whose device is not listed */
async function move(deps: CursorDeps, cursors: readonly Cursor[]): Promise<Cursor[]> {
  const byPartition = groupBy(cursors, ({ user }) => deps.keys.partitionOf(user))
  const chunks: Cursor[][] = []
  for (const all of byPartition.values()) {
    for (let at = 0; at < all.length; at += CHUNK) chunks.push(all.slice(at, at + CHUNK))
  }
  return (await Promise.all(chunks.map((chunk) => moveChunk(deps, chunk)))).flat()
}

async function moveChunk(deps: CursorDeps, chunk: readonly Cursor[]): Promise<Cursor[]> {
  const { redis, keys, writeBehind, receipts } = deps
  const answers = (await moveForward(
    redis,
    chunk.flatMap(({ user, device }) => [keys.devices(user), keys.cursor(user, device)]),
    chunk.flatMap(({ device, conversation, seq }) => [device, conversation, seq]),
  )) as number[]
  const moved = chunk.filter((_, i) => answers[i]! >= Moved.Forward)
  for (const [i, cursor] of chunk.entries()) if (answers[i] === Moved.Furthest) receipts.delivered(cursor)
  await writeBehind.add(moved, [])
  return chunk.filter((_, i) => answers[i] === Moved.Unlisted)
}
