/** Where devices stand: opened with a start that is fixed once, moved forward by acks. */
import { AppError, type logicRpc, parseConversation, requirePossibleParty } from '@tidings/protocol'
import type { Cursor, Store } from '@tidings/store'
import type { Keys, LogReader, Redis } from '@tidings/stream'
import type { Devices } from './devices.js'
import { readHeads } from './heads.js'
import { deviceOf, seqOf, userOf } from './input.js'
import { type MembershipDeps, membershipsOf, requireMember } from './rooms/membership.js'
import { loadScript } from './script.js'
import type { WriteBehind } from './write-behind.js'

/** Acks in one call to us, and cursors in one call to Redis. */
const MAX_ACKS = 10_000
const CHUNK = 500
/** Devices that are put back at the same time, after Redis forgot them. */
const OPENS_AT_ONCE = 16

const moveForward = loadScript('ack.lua')
enum Moved {
  Unlisted = -1,
  Forward = 1,
}

export interface CursorDeps extends MembershipDeps {
  redis: Redis
  keys: Keys
  store: Store
  reader: LogReader
  devices: Devices
  writeBehind: WriteBehind
}

/** Where a device stands in every conversation of its user. @throws AppError `invalid_request`, `unavailable` */
export async function openDevice(
  deps: CursorDeps,
  request: logicRpc.OpenDeviceRequest,
): Promise<logicRpc.OpenDeviceResponse> {
  const user = userOf(request.user)
  const standings = await standingsOf(deps, user, deviceOf(request.device))
  // Heads last: an entry that comes in between is then behind the head, not unknown.
  const heads = await readHeads(
    deps,
    standings.map(({ conversation }) => conversation),
  )
  return { positions: standings.map((one) => ({ ...one, head: heads.get(one.conversation)! })) }
}

/**
 * A device's cursor in each conversation of its user; in a room it is never below the joining, and a room that the user is not in is
 * left out. @throws AppError `unavailable`
 */
export async function standingsOf(
  deps: MembershipDeps & Pick<CursorDeps, 'devices'>,
  user: string,
  device: string,
): Promise<Omit<logicRpc.Position, 'head'>[]> {
  const { cursors, conversations } = await deps.devices.open(user, device)
  const memberships = await membershipsOf(deps, user, conversations)
  return conversations.flatMap((conversation) => {
    const cursor = cursors.get(conversation) ?? 0
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
 * @throws AppError `invalid_request`, `conversation_not_found`, `beyond_head`: nothing has moved; `overloaded`, `unavailable`: some may
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
  for (let at = 0; at < devices.length; at += OPENS_AT_ONCE) {
    await Promise.all(devices.slice(at, at + OPENS_AT_ONCE).map(({ user, device }) => deps.devices.open(user, device)))
  }
  const still = await move(deps, unlisted)
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
  const byPartition = new Map<number, Cursor[]>()
  for (const cursor of cursors) {
    const partition = deps.keys.partitionOf(cursor.user)
    const known = byPartition.get(partition)
    if (known) known.push(cursor)
    else byPartition.set(partition, [cursor])
  }
  const chunks: Cursor[][] = []
  for (const all of byPartition.values()) {
    for (let at = 0; at < all.length; at += CHUNK) chunks.push(all.slice(at, at + CHUNK))
  }
  return (await Promise.all(chunks.map((chunk) => moveChunk(deps, chunk)))).flat()
}

async function moveChunk({ redis, keys, writeBehind }: CursorDeps, chunk: readonly Cursor[]): Promise<Cursor[]> {
  const answers = (await moveForward(
    redis,
    chunk.flatMap(({ user, device }) => [keys.devices(user), keys.cursor(user, device)]),
    chunk.flatMap(({ device, conversation, seq }) => [device, conversation, seq]),
  )) as number[]
  const moved = chunk.filter((_, i) => answers[i] === Moved.Forward)
  await writeBehind.add(moved, [])
  return chunk.filter((_, i) => answers[i] === Moved.Unlisted)
}
