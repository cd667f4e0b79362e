/**
 * Who may change what in a room, and what that does to it. Pure: what is known of the room comes in, what is to be written goes out, and
 * `undefined` where all is so already.
 */
import { AppError, type Role, type RoomEvent } from '@tidings/protocol'
import type { MemberRow, Person, RoomRow } from '@tidings/store'
import { MAX_ROOM_MEMBERS, MAX_ROOMS_OF_A_USER } from './limits.js'

/** A room, and what is known of those whom a change concerns. */
export interface Known {
  room: RoomRow
  /** Who acts. */
  by: string
  /** Those concerned, as far as they have an account. */
  people: ReadonlyMap<string, Person>
  /** Who follows when the owner goes. */
  successor?: MemberRow
}

/** What is to be written. */
export interface Plan {
  change: RoomEvent['change']
  room?: NonNullable<RoomEvent['room']>
  add?: readonly { user: string; role: Role; mutedUntil: number }[]
  set?: readonly { user: string; role?: Role; mutedUntil?: number }[]
  remove?: readonly string[]
  ended?: boolean
  ban?: string
}

const RANK: Record<Role, number> = { owner: 3, admin: 2, member: 1 }
const rankOf = (role: Role | undefined): number => (role ? RANK[role] : 0)

/** Alike for what is not there and what does not show itself. */
export const roomNotFound = (): AppError =>
  new AppError('room_not_found', 'There is no such room, or you are not in it.')
const forbidden = (message: string): AppError => new AppError('forbidden', message)

const memberOf = ({ people }: Known, user: string): MemberRow | undefined => people.get(user)?.member
const roleOf = (known: Known, user: string): Role | undefined => memberOf(known, user)?.role

/** @throws AppError `room_not_found` to whom the room does not show itself, `forbidden` */
function requireRole(known: Known, least: Role): Role {
  const role = roleOf(known, known.by)
  if (role && rankOf(role) >= rankOf(least)) return role
  requireSight(known.room, role !== undefined)
  throw forbidden(least === 'owner' ? 'Only the owner may do this.' : 'Only the owner and admins may do this.')
}

/** A private room shows itself to its members alone. @throws AppError `room_not_found` */
export function requireSight(room: RoomRow, inRoom: boolean): void {
  if (!inRoom && room.visibility !== 'public') throw roomNotFound()
}

/** @throws AppError `user_not_found`, `banned`, `room_full`, `invalid_request` */
function requireAddable({ room, people }: Known, fresh: readonly string[]): void {
  for (const user of fresh) {
    const person = requireUsable(people.get(user))
    if (person.banned) throw new AppError('banned', 'This user is banned from the room.', { details: { user } })
  }
  if (room.memberCount + fresh.length > MAX_ROOM_MEMBERS) {
    throw new AppError('room_full', `A room has at most ${MAX_ROOM_MEMBERS} members.`)
  }
}

/** @throws AppError `user_not_found`: also for one who may not act any more */
function requireActive(person: Person | undefined): Person {
  if (!person?.active) throw new AppError('user_not_found', 'There is no such user.')
  return person
}

/** Somebody who may come into a room. @throws AppError `user_not_found`: also for one who may not act any more; `invalid_request` */
export function requireUsable(somebody: Person | undefined): Person {
  const person = requireActive(somebody)
  if (person.rooms < MAX_ROOMS_OF_A_USER) return person
  const { user } = person
  throw new AppError('invalid_request', `A user may be in at most ${MAX_ROOMS_OF_A_USER} rooms.`, { details: { user } })
}

/** Somebody comes by themselves. @throws AppError `room_not_found`, `banned`, `room_full`, `invalid_request` */
export function planJoin(known: Known): Plan | undefined {
  const { room, by } = known
  if (memberOf(known, by)) return undefined
  requireSight(room, false)
  requireAddable(known, [by])
  // An empty room has nobody who could give it away.
  const role = room.memberCount === 0 ? 'owner' : 'member'
  return { change: 'joined', add: [{ user: by, role, mutedUntil: keptMute(known, by, role) }] }
}

/** Somebody goes. @throws AppError `room_not_found` */
export function planLeave(known: Known): Plan | undefined {
  const { room, by, successor } = known
  if (!memberOf(known, by)) {
    requireSight(room, false)
    return undefined
  }
  const remove = [by]
  if (room.memberCount === 1 && room.kind === 'temporary') return { change: 'deleted', remove, ended: true }
  if (roleOf(known, by) !== 'owner' || !successor) return { change: 'left', remove }
  return { change: 'left', remove, set: [owning(successor)] }
}

/** Until when somebody who comes is muted: going and coming back does not end it. */
const keptMute = ({ people }: Known, user: string, role: Role): number =>
  role === 'owner' ? 0 : (people.get(user)?.keptMute ?? 0)

/** Whoever owns a room cannot be muted: nobody could end it. */
const owning = ({ user, mutedUntil }: MemberRow) => ({
  user,
  role: 'owner' as const,
  ...(mutedUntil !== 0 && { mutedUntil: 0 }),
})

/** @throws AppError `room_not_found`, `forbidden`, `user_not_found`, `banned`, `room_full`, `invalid_request` */
export function planAdd(known: Known, users: readonly string[]): Plan | undefined {
  requireRole(known, 'admin')
  const fresh = [...new Set(users)].filter((user) => !memberOf(known, user))
  if (fresh.length === 0) return undefined
  requireAddable(known, fresh)
  const toAdd = (user: string) => ({ user, role: 'member' as const, mutedUntil: keptMute(known, user, 'member') })
  return { change: 'added', add: fresh.map(toAdd) }
}

/**
 * Adds somebody, or changes the role or the muting of a member.
 * @param wanted what is not given stays, also the muting of somebody who was here before
 * @throws AppError `room_not_found`, `forbidden`, `user_not_found`, `banned`, `room_full`, `invalid_request`
 */
export function planMember(known: Known, user: string, wanted: { role?: Role; mutedUntil?: number }): Plan | undefined {
  const mine = requireRole(known, 'admin')
  const member = memberOf(known, user)
  if (!member) return planNewMember(known, mine, user, wanted)
  const role = wanted.role === member.role ? undefined : wanted.role
  const mutedUntil = wanted.mutedUntil === member.mutedUntil ? undefined : wanted.mutedUntil
  if (role !== undefined) requireMayGive(mine, known.by, user)
  if (mutedUntil !== undefined) requireMayMute(mine, role ?? member.role, member.role)
  if (role === undefined && mutedUntil === undefined) return undefined
  if (role === 'owner') {
    // Else the room had an owner who cannot act, and nobody can do anything to an owner.
    requireActive(known.people.get(user))
    return { change: 'member_updated', set: [owning(member), { user: known.by, role: 'admin' }] }
  }
  const fields = { ...(role !== undefined && { role }), ...(mutedUntil !== undefined && { mutedUntil }) }
  return { change: 'member_updated', set: [{ user, ...fields }] }
}

function planNewMember(
  known: Known,
  mine: Role,
  user: string,
  { role = 'member', mutedUntil: wanted }: { role?: Role; mutedUntil?: number },
): Plan {
  if (role !== 'member') requireMayGive(mine, known.by, user)
  if (wanted) requireMayMute(mine, role, 'member')
  requireAddable(known, [user])
  const mutedUntil = wanted ?? keptMute(known, user, role)
  const plan: Plan = { change: 'added', add: [{ user, role, mutedUntil }] }
  return role === 'owner' ? { ...plan, set: [{ user: known.by, role: 'admin' }] } : plan
}

function requireMayGive(mine: Role, by: string, user: string): void {
  if (mine !== 'owner') throw forbidden('Only the owner may change roles.')
  if (by === user) throw forbidden('The owner hands the room over by making somebody else its owner.')
}

function requireMayMute(mine: Role, role: Role, before: Role): void {
  if (role === 'owner') throw forbidden('The owner cannot be muted.')
  if (rankOf(mine) <= rankOf(before)) throw forbidden('Only the owner may mute an admin.')
}

/** The account of a room's owner is gone; who it was stays in the room's lists, as its messages do. */
export const planHandOver = (owner: string, successor: MemberRow): Plan => ({
  change: 'member_updated',
  set: [owning(successor), { user: owner, role: 'member' }],
})

/** Somebody is taken off; oneself: leaves. @throws AppError `room_not_found`, `forbidden` */
export function planRemove(known: Known, user: string): Plan | undefined {
  if (user === known.by) return planLeave(known)
  const mine = requireRole(known, 'admin')
  const role = roleOf(known, user)
  if (!role) return undefined
  requireAbove(mine, role)
  return { change: 'removed', remove: [user] }
}

function requireAbove(mine: Role, role: Role): void {
  if (rankOf(mine) <= rankOf(role)) throw forbidden('Only the owner may remove an admin, and nobody the owner.')
}

/** Who is not in the room is banned without an entry. @throws AppError `room_not_found`, `forbidden`, `user_not_found`, `invalid_request` */
export function planBan(known: Known, user: string): Plan | undefined {
  const mine = requireRole(known, 'admin')
  if (user === known.by) throw new AppError('invalid_request', 'Nobody bans oneself.')
  const person = known.people.get(user)
  if (!person) throw new AppError('user_not_found', 'There is no such user.')
  const role = roleOf(known, user)
  if (role) requireAbove(mine, role)
  const ban = person.banned ? undefined : user
  if (!role && !ban) return undefined
  return { change: 'banned', ...(ban && { ban }), ...(role && { remove: [user] }) }
}

/** @throws AppError `room_not_found`, `forbidden` */
export const requireMayUnban = (known: Known): void => void requireRole(known, 'admin')

/** @param wanted what is not given stays @throws AppError `room_not_found`, `forbidden` */
export function planUpdate(known: Known, wanted: NonNullable<Plan['room']>): Plan | undefined {
  const mine = requireRole(known, 'admin')
  const room: NonNullable<Plan['room']> = {}
  for (const field of ['name', 'visibility', 'history'] as const) {
    const value = wanted[field]
    if (value === undefined || value === known.room[field]) continue
    if (field !== 'name' && mine !== 'owner') throw forbidden('Only the owner may change who sees the room.')
    room[field] = value
  }
  const { retentionDays } = wanted
  if (retentionDays !== undefined && retentionDays !== known.room.retentionDays) {
    if (mine !== 'owner') throw forbidden('Only the owner may change for how long messages are kept.')
    room.retentionDays = retentionDays
  }
  return Object.keys(room).length === 0 ? undefined : { change: 'updated', room }
}

/** @throws AppError `room_not_found`, `forbidden` */
export function planDelete(known: Known): Plan {
  requireRole(known, 'owner')
  return { change: 'deleted', ended: true }
}
