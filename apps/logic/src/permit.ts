/** May this user write here? */
import { AppError, type logicRpc, requireParty } from '@tidings/protocol'
import { findUsers, type Store } from '@tidings/store'
import { userOf } from './input.js'
import { requireActive } from './users.js'

/** How long an answer may be kept: a disabled user can send for so long. */
const TTL_MS = 30_000

/** @throws AppError `conversation_not_found`, `user_not_found`, `forbidden`, `user_disabled`, `invalid_request`, `unavailable` */
export async function permit(store: Store, request: logicRpc.PermitRequest): Promise<logicRpc.PermitResponse> {
  const user = userOf(request.user)
  const conversation = requireParty(request.conversation, user)
  if (conversation.kind !== 'dm') {
    throw new AppError('forbidden', 'Only servers write here, with POST /push.')
  }
  const other = conversation.users[0] === user ? conversation.users[1] : conversation.users[0]
  const rows = await findUsers(store, [...new Set([user, other])])
  const sender = rows.find(({ id }) => id === user)
  const receiver = rows.find(({ id }) => id === other)
  if (!sender) throw new AppError('user_not_found', 'The sender does not exist.')
  requireActive(sender)
  if (!receiver || receiver.deletedAt) throw new AppError('user_not_found', 'There is no such user.')
  return { memberVersion: 0, ttlMs: TTL_MS }
}
