/** Users: who exists, and who may act. */
import { AppError, type logicRpc } from '@tidings/protocol'
import { ensureUsers, findUser, type Store, type UserRow } from '@tidings/store'
import { userOf } from './input.js'
import { andThen, type Outcome, outcomes } from './outcome.js'

/** Users in one call. */
const MAX_SEEN = 500

export const toUser = ({ id, displayName, createdAt }: UserRow): logicRpc.User => ({
  id,
  displayName,
  createdAt: createdAt.getTime(),
})

/** @throws AppError `user_disabled` */
export function requireActive(user: UserRow): void {
  if (user.disabledAt || user.deletedAt) throw new AppError('user_disabled', 'This account may not act any more.')
}

/**
 * The subjects of valid tokens: a row appears when one is first seen. Failures of each: AppError `user_disabled`, `invalid_request`.
 * @throws AppError `unavailable`
 */
export async function seeUsers(store: Store, { users }: logicRpc.SeeUsersRequest): Promise<Outcome<UserRow>[]> {
  if (users.length > MAX_SEEN) throw new AppError('invalid_request', `At most ${MAX_SEEN} users in one call.`)
  const named = await outcomes(users, userOf)
  return await andThen(named, async (ids) => {
    const createdAt = new Date()
    const wanted = [...new Set(ids)].map((id) => ({ id, displayName: id, passwordHash: null, createdAt }))
    const rows = new Map((await ensureUsers(store, wanted)).map((row) => [row.id, row]))
    return await outcomes(ids, (id) => {
      const row = rows.get(id)!
      requireActive(row)
      return row
    })
  })
}

/** @throws AppError `user_not_found`, `invalid_request`, `unavailable` */
export async function getUser(store: Store, request: logicRpc.GetUserRequest): Promise<logicRpc.User> {
  const user = await findUser(store, userOf(request.user))
  if (!user || user.deletedAt) throw new AppError('user_not_found', 'There is no such user.')
  return toUser(user)
}
