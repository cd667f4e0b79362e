/** Who is in a room: they come, go, are added, changed, removed and banned. */
import { AppError, type logicRpc, type Role } from '@tidings/protocol'
import { bansAfter, findMember, findUsers, membersAfter } from '@tidings/store'
import { limitOf, oneOf, seqOf, userOf } from '../input.js'
import { change, changeBans, type RoomDeps, repeatable } from './change.js'
import { changedUsersOf, roomOf } from './input.js'
import { seeRoom } from './rooms.js'
import { planAdd, planBan, planJoin, planLeave, planMember, planRemove, requireMayUnban } from './rules.js'
import { toMember, toRoom } from './views.js'

const ROLES = ['owner', 'admin', 'member'] as const
const LIMIT = { default: 100, max: 500 }

/** @throws AppError `room_not_found`, `banned`, `room_full`, `invalid_request`, `outcome_unknown`, `unavailable` */
export async function joinRoom(deps: RoomDeps, request: logicRpc.JoinRoomRequest): Promise<logicRpc.Room> {
  const act = { room: roomOf(request.room), by: userOf(request.user) }
  const { room, role } = await change(deps, act, planJoin)
  return toRoom(room, role)
}

/** Nothing happens to one who is not in it. @throws AppError `room_not_found`, `invalid_request`, `outcome_unknown`, `unavailable` */
export async function leaveRoom(deps: RoomDeps, request: logicRpc.LeaveRoomRequest): Promise<void> {
  const act = { room: roomOf(request.room), by: userOf(request.user) }
  await repeatable(deps, act, ['left', 'deleted'], () => change(deps, act, planLeave))
}

/** @throws AppError `room_not_found`, `forbidden`, `user_not_found`, `banned`, `room_full`, `invalid_request`, `outcome_unknown`, `unavailable` */
export async function addMembers(deps: RoomDeps, request: logicRpc.AddMembersRequest): Promise<logicRpc.Room> {
  const users = changedUsersOf(request.members)
  const act = { room: roomOf(request.room), by: userOf(request.user), concerned: users }
  const { room, role } = await change(deps, act, (known) => planAdd(known, users))
  return toRoom(room, role)
}

/** Adds somebody, or changes the role or the muting of a member. @throws AppError as `addMembers` does */
export async function setMember(deps: RoomDeps, request: logicRpc.SetMemberRequest): Promise<logicRpc.Member> {
  const user = userOf(request.member)
  const act = { room: roomOf(request.room), by: userOf(request.user), concerned: [user] }
  const wanted: { role?: Role; mutedUntil?: number } = {
    ...(request.role !== '' && { role: oneOf('role', ROLES, request.role) }),
    ...(request.mutedUntil !== undefined && { mutedUntil: mutingOf(request.mutedUntil) }),
  }
  const { room } = await change(deps, act, (known) => planMember(known, user, wanted))
  const [[row], member] = await Promise.all([findUsers(deps.store, [user]), findMember(deps.store, room.id, user)])
  // Gone again meanwhile.
  if (!member) throw new AppError('user_not_found', 'This user is not in the room any more.')
  return toMember(member, row?.displayName ?? user)
}

/** A time that is over is none. */
function mutingOf(value: number): number {
  const until = seqOf('mutedUntil', value)
  return until <= Date.now() ? 0 : until
}

/** @throws AppError `room_not_found`, `forbidden`, `invalid_request`, `outcome_unknown`, `unavailable` */
export async function removeMember(deps: RoomDeps, request: logicRpc.RemoveMemberRequest): Promise<void> {
  const user = userOf(request.member)
  const act = { room: roomOf(request.room), by: userOf(request.user), concerned: [user] }
  const words = user === act.by ? ['left', 'deleted'] : []
  await repeatable(deps, act, words, () => change(deps, act, (known) => planRemove(known, user)))
}

/** @throws AppError `room_not_found`, `forbidden`, `user_not_found`, `invalid_request`, `outcome_unknown`, `unavailable` */
export async function ban(deps: RoomDeps, request: logicRpc.BanRequest): Promise<void> {
  const user = userOf(request.member)
  const act = { room: roomOf(request.room), by: userOf(request.user), concerned: [user] }
  await change(deps, act, (known) => planBan(known, user))
}

/** @throws AppError `room_not_found`, `forbidden`, `invalid_request`, `unavailable` */
export async function unban(deps: RoomDeps, request: logicRpc.UnbanRequest): Promise<void> {
  const user = userOf(request.member)
  const act = { room: roomOf(request.room), by: userOf(request.user), user }
  await changeBans(deps, act, async (known, held) => {
    requireMayUnban(known)
    if (known.banned.has(user)) await held.unban(user)
  })
}

/** For those who are in it. @throws AppError `room_not_found`, `forbidden`, `invalid_request`, `unavailable` */
export async function listMembers(
  { store }: RoomDeps,
  request: logicRpc.ListMembersRequest,
): Promise<logicRpc.ListMembersResponse> {
  const limit = limitOf(request.limit, LIMIT)
  const after = request.cursor === '' ? '' : userOf(request.cursor)
  const { room, role } = await seeRoom(store, userOf(request.user), roomOf(request.room))
  if (!role) throw new AppError('forbidden', 'Only those who are in the room see who is in it.')
  const rows = await membersAfter(store, room.id, after, limit + 1)
  const page = rows.slice(0, limit)
  const users = await findUsers(
    store,
    page.map(({ user }) => user),
  )
  const names = new Map(users.map(({ id, displayName }) => [id, displayName]))
  return {
    members: page.map((row) => toMember(row, names.get(row.user) ?? row.user)),
    nextCursor: rows.length > limit ? page.at(-1)!.user : '',
  }
}

/** @throws AppError `room_not_found`, `forbidden`, `invalid_request`, `unavailable` */
export async function listBans(
  { store }: RoomDeps,
  request: logicRpc.ListBansRequest,
): Promise<logicRpc.ListBansResponse> {
  const limit = limitOf(request.limit, LIMIT)
  const after = request.cursor === '' ? '' : userOf(request.cursor)
  const { room, role } = await seeRoom(store, userOf(request.user), roomOf(request.room))
  if (role !== 'owner' && role !== 'admin') throw new AppError('forbidden', 'Only the owner and admins see the bans.')
  const users = await bansAfter(store, room.id, after, limit + 1)
  const page = users.slice(0, limit)
  return { users: page, nextCursor: users.length > limit ? page.at(-1)! : '' }
}
