/** Rooms themselves: made, found, changed, ended. */
import { randomBytes } from 'node:crypto'
import { AppError, type logicRpc } from '@tidings/protocol'
import { findMember, findRoom, insertRoom, type Store, searchRooms as search } from '@tidings/store'
import { limitOf, nameOf, oneOf, userOf } from '../input.js'
import { createLine, type Line } from '../line.js'
import { type Changed, change, type RoomDeps, repeatable, tell } from './change.js'
import { toWrite } from './events.js'
import { changedUsersOf, roomOf } from './input.js'
import { MAX_RETENTION_DAYS, MAX_TTL_S, MIN_TTL_S } from './limits.js'
import { type Plan, planDelete, planUpdate, requireSight, requireUsable, roomNotFound } from './rules.js'
import { toRoom } from './views.js'

const KINDS = ['permanent', 'temporary'] as const
const VISIBILITIES = ['public', 'private'] as const
const HISTORIES = ['all', 'joined'] as const
const LIMIT = { default: 50, max: 100 }
const MAX_QUERY = 100

/** Searches by a name: each reads the names of all public rooms, as long as they do not match, so few have MySQL at once in this process. */
export const createRoomSearches = (): Line =>
  createLine({
    atOnce: 2,
    inLine: 20,
    perUser: 2,
    waitMs: 2_000,
    refusal: 'Too many searches for rooms at once. Try again shortly.',
  })

/** @throws AppError `invalid_request`, `user_not_found`, `outcome_unknown`: it is there, and shows itself soon; `unavailable` */
export async function createRoom(deps: RoomDeps, request: logicRpc.CreateRoomRequest): Promise<logicRpc.Room> {
  const by = userOf(request.user)
  const others = changedUsersOf(request.members).filter((user) => user !== by)
  const visibility = oneOf('visibility', VISIBILITIES, request.visibility)
  const now = new Date()
  const row = {
    id: randomBytes(12).toString('base64url'),
    name: nameOf(request.name),
    kind: oneOf('kind', KINDS, request.kind),
    visibility,
    history: oneOf('history', HISTORIES, request.history || (visibility === 'public' ? 'all' : 'joined')),
    createdBy: by,
    endsAt: endOf(request, now),
  }
  const plan: Plan = {
    change: 'created',
    room: { name: row.name, visibility, history: row.history },
    add: [
      { user: by, role: 'owner', mutedUntil: 0 },
      ...others.map((user) => ({ user, role: 'member' as const, mutedUntil: 0 })),
    ],
  }
  const first = toWrite(plan, { version: 0, history: row.history }, by, now)
  const room = await insertRoom(deps.store, row, first, async ({ people }) => {
    const known = new Map((await people([by, ...others])).map((one) => [one.user, one]))
    for (const user of [by, ...others]) requireUsable(known.get(user))
  })
  await tell(deps.outbox, room.id)
  return toRoom(room, 'owner')
}

function endOf({ kind, ttlS }: logicRpc.CreateRoomRequest, now: Date): Date | null {
  if (ttlS === 0) return null
  if (kind !== 'temporary') throw new AppError('invalid_request', 'Only a temporary room has a ttl.')
  if (!Number.isInteger(ttlS) || ttlS < MIN_TTL_S || ttlS > MAX_TTL_S) {
    throw new AppError('invalid_request', `ttl is a whole number of seconds from ${MIN_TTL_S} to ${MAX_TTL_S}.`)
  }
  return new Date(now.getTime() + ttlS * 1_000)
}

/** @throws AppError `room_not_found`, `invalid_request`, `unavailable` */
export async function getRoom({ store }: RoomDeps, request: logicRpc.GetRoomRequest): Promise<logicRpc.Room> {
  const { room, role } = await seeRoom(store, userOf(request.user), roomOf(request.room))
  return toRoom(room, role)
}

/** A room as somebody may see it. @throws AppError `room_not_found`, `unavailable` */
export async function seeRoom(store: Store, user: string, id: string): Promise<Changed> {
  const [room, member] = await Promise.all([findRoom(store, id), findMember(store, id, user)])
  if (!room) throw roomNotFound()
  requireSight(room, member !== undefined)
  return { room, role: member?.role ?? '' }
}

/** @throws AppError `invalid_request`, `overloaded`, `unavailable` */
export async function searchRooms(
  { store, roomSearches }: RoomDeps & { roomSearches: Line },
  request: logicRpc.SearchRoomsRequest,
): Promise<logicRpc.SearchRoomsResponse> {
  const user = userOf(request.user)
  const limit = limitOf(request.limit, LIMIT)
  if ([...request.query].length > MAX_QUERY) {
    throw new AppError('invalid_request', `q has at most ${MAX_QUERY} characters.`)
  }
  const after = request.cursor === '' ? '' : roomOf(request.cursor, badCursor)
  const look = () => search(store, { user, text: request.query, after, limit: limit + 1 })
  // Without a name it reads a page along the index.
  const found = await (request.query === '' ? look() : roomSearches.run(user, look))
  const page = found.slice(0, limit)
  return {
    rooms: page.map((row) => toRoom(row, row.role)),
    nextCursor: found.length > limit ? page.at(-1)!.id : '',
  }
}

const badCursor = (): AppError =>
  new AppError('invalid_request', 'cursor is not one that a page of this list ended with.')

/** What is not given stays. @throws AppError `room_not_found`, `forbidden`, `invalid_request`, `outcome_unknown`, `unavailable` */
export async function updateRoom(deps: RoomDeps, request: logicRpc.UpdateRoomRequest): Promise<logicRpc.Room> {
  const wanted: NonNullable<Plan['room']> = {
    ...(request.name !== '' && { name: nameOf(request.name) }),
    ...(request.visibility !== '' && { visibility: oneOf('visibility', VISIBILITIES, request.visibility) }),
    ...(request.history !== '' && { history: oneOf('history', HISTORIES, request.history) }),
    ...(request.retentionDays !== undefined && { retentionDays: retentionOf(request.retentionDays) }),
  }
  const act = { room: roomOf(request.room), by: userOf(request.user) }
  const { room, role } = await change(deps, act, (known) => planUpdate(known, wanted))
  return toRoom(room, role)
}

/** @param days 0: as everywhere */
function retentionOf(days: number): number {
  if (!Number.isInteger(days) || days < 0 || days > MAX_RETENTION_DAYS)
    throw new AppError('invalid_request', `retentionDays is a whole number from 1 to ${MAX_RETENTION_DAYS}.`)
  return days
}

/** Ends the room for all. @throws AppError `room_not_found`, `forbidden`, `invalid_request`, `outcome_unknown`, `unavailable` */
export async function deleteRoom(deps: RoomDeps, request: logicRpc.DeleteRoomRequest): Promise<void> {
  const act = { room: roomOf(request.room), by: userOf(request.user) }
  await repeatable(deps, act, ['deleted'], () => change(deps, act, planDelete))
}
