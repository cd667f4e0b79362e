/** Users: who exists, and who may act. */
import { AppError, type logicRpc } from '@tidings/protocol'
import { ensureUser, findUser, type Store, type UserRow } from '@tidings/store'
import { userOf } from './input.js'

export const toUser = ({ id, displayName, createdAt }: UserRow): logicRpc.User => ({
  id,
  displayName,
  createdAt: createdAt.getTime(),
})

/** @throws AppError `user_disabled` */
export function requireActive(user: UserRow): void {
  if (user.disabledAt || user.deletedAt) throw new AppError('user_disabled', 'This account may not act any more.')
}

/** The subject of a valid token: a row appears when it is first seen. @throws AppError `user_disabled`, `invalid_request`, `unavailable` */
export async function seeUser(store: Store, request: logicRpc.SeeUserRequest): Promise<logicRpc.User> {
  const id = userOf(request.user)
  const user = await ensureUser(store, { id, displayName: id, passwordHash: null, createdAt: new Date() })
  requireActive(user)
  return toUser(user)
}

/** @throws AppError `user_not_found`, `invalid_request`, `unavailable` */
export async function getUser(store: Store, request: logicRpc.GetUserRequest): Promise<logicRpc.User> {
  const user = await findUser(store, userOf(request.user))
  if (!user || user.deletedAt) throw new AppError('user_not_found', 'There is no such user.')
  return toUser(user)
}
