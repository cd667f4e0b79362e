/** Users: who exists, and who may act. */
import { AppError, type logicRpc, revokedUser } from '@tidings/protocol'
import {
  deleteUser as deleteRow,
  ensureUsers,
  existingUsers,
  findUser,
  type Store,
  setDisplayName,
  setUserDisabled as setRowDisabled,
  type UserRow,
} from '@tidings/store'
import type { Broadcasts } from './broadcasts.js'
import { displayNameOf, userOf } from './input.js'
import type { KeptUsers } from './kept-users.js'
import { andThen, type Outcome, outcomes } from './outcome.js'
import type { Revocations } from './revocations.js'

/** Users in one call. */
const MAX_SEEN = 500
/** Users in one call that asks who there is. */
const MAX_ASKED = 10_000
/** What is shown of somebody whose account is deleted. */
const DELETED_NAME = 'Deleted user'

export interface UserDeps {
  store: Store
  revocations: Pick<Revocations, 'publish'>
}

export const toUser = ({ id, displayName, createdAt }: UserRow): logicRpc.User => ({
  id,
  displayName,
  createdAt: createdAt.getTime(),
})

export const userDisabled = (): AppError => new AppError('user_disabled', 'This account may not act any more.')
const notFound = (): AppError => new AppError('user_not_found', 'There is no such user.')

/** @throws AppError `user_disabled` */
export function requireActive(user: Pick<UserRow, 'disabledAt' | 'deletedAt'>): void {
  if (user.disabledAt || user.deletedAt) throw userDisabled()
}

/**
 * The subjects of valid tokens: a row appears when one is first seen; whoever was seen before is known while MySQL does not answer.
 * Failures of each: AppError `user_disabled`, `invalid_request`, `unavailable`.
 * @throws AppError `unavailable`
 */
export async function seeUsers(
  deps: { store: Store; broadcasts: Pick<Broadcasts, 'head'>; keptUsers: KeptUsers },
  { users }: logicRpc.SeeUsersRequest,
): Promise<Outcome<void>[]> {
  const { store, broadcasts, keptUsers } = deps
  if (users.length > MAX_SEEN) throw new AppError('invalid_request', `At most ${MAX_SEEN} users in one call.`)
  const named = await outcomes(users, userOf)
  return await andThen(named, async (ids) => {
    const createdAt = new Date()
    const wanted = [...new Set(ids)].map((id) => ({ id, displayName: id, passwordHash: null, createdAt }))
    const answer = await keptUsers.ask(ids, async () => ({ users: await ensureUsers(store, wanted, broadcasts.head) }))
    const known = answer && new Map(answer.users.map((one) => [one.id, one]))
    return await outcomes(ids, (id) => requireActive(known ? known.get(id)! : keptUsers.require(id)))
  })
}

/** Those of the users that there are not, or not any more. @throws AppError `invalid_request`, `unavailable` */
export async function missingUsers(store: Store, { users }: logicRpc.MissingUsersRequest): Promise<string[]> {
  if (users.length > MAX_ASKED) throw new AppError('invalid_request', `At most ${MAX_ASKED} users in one call.`)
  const there = new Set(await existingUsers(store, users.map(userOf)))
  return users.filter((user) => !there.has(user))
}

/** @throws AppError `user_not_found`, `invalid_request`, `unavailable` */
export async function getUser(store: Store, request: logicRpc.GetUserRequest): Promise<logicRpc.User> {
  const user = await findUser(store, userOf(request.user))
  if (!user || user.deletedAt) throw notFound()
  return toUser(user)
}

/** An account as operators see it. @throws AppError `user_not_found`, `invalid_request`, `unavailable` */
export async function inspectUser(
  store: Store,
  request: logicRpc.InspectUserRequest,
): Promise<logicRpc.InspectUserResponse> {
  const user = await findUser(store, userOf(request.user))
  if (!user) throw notFound()
  const { disabledAt, deletedAt, passwordHash } = user
  return {
    user: toUser(user),
    disabledAt: disabledAt?.getTime() ?? 0,
    deletedAt: deletedAt?.getTime() ?? 0,
    hasPassword: passwordHash !== null,
  }
}

/** @throws AppError `user_not_found`, `user_disabled`, `invalid_request`, `unavailable` */
export async function updateUser(store: Store, request: logicRpc.UpdateUserRequest): Promise<logicRpc.User> {
  const id = userOf(request.user)
  const displayName = displayNameOf(request.displayName)
  const user = await findUser(store, id)
  if (!user) throw notFound()
  requireActive(user)
  // Deleted in between: the name of a deleted user stays what deletion has made of it.
  if (!(await setDisplayName(store, id, displayName))) throw userDisabled()
  return toUser({ ...user, displayName })
}

/**
 * Ends an account for good. MySQL first: from then on nobody signs in, and the edges are told sooner or later, whatever happens to
 * Redis or to this process.
 * @throws AppError `user_not_found`, `invalid_request`, `unavailable`: repeat it
 */
export async function deleteUser(deps: UserDeps, request: logicRpc.DeleteUserRequest): Promise<void> {
  const id = userOf(request.user)
  const sessions = await deleteRow(deps.store, id, DELETED_NAME, new Date())
  if (!sessions) throw notFound()
  await deps.revocations.publish([revokedUser(id), ...sessions])
}

/**
 * Says whether a user may act. Enabled again, a user may sign in; the sessions of before stay ended.
 * @throws AppError `user_not_found`, `invalid_request`, `unavailable`: repeat it
 */
export async function setUserDisabled(deps: UserDeps, request: logicRpc.SetUserDisabledRequest): Promise<void> {
  const id = userOf(request.user)
  const sessions = await setRowDisabled(deps.store, id, request.disabled, new Date())
  if (!sessions) throw notFound()
  // That one may act again is told to nobody: the edges keep no refusal.
  if (request.disabled) await deps.revocations.publish([revokedUser(id), ...sessions])
}
