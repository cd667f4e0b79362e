/** May this user write here? */
import { AppError, type logicRpc, requirePossibleParty } from '@tidings/protocol'
import { findUser, findUsers, isBlocked, type Store } from '@tidings/store'
import { userOf } from './input.js'
import { type MembershipDeps, requireMember } from './rooms/membership.js'
import { requireActive } from './users.js'

/**
 * How long an answer may be kept. Who is disabled or blocked meanwhile is told to the edges; who is in a room is asked again by the
 * append.
 */
const TTL_MS = 30_000

export type PermitDeps = MembershipDeps & { store: Store }

/** @throws AppError `conversation_not_found`, `user_not_found`, `forbidden`, `blocked`, `muted`, `user_disabled`, `invalid_request`, `unavailable` */
export async function permit(deps: PermitDeps, request: logicRpc.PermitRequest): Promise<logicRpc.PermitResponse> {
  const user = userOf(request.user)
  const conversation = requirePossibleParty(request.conversation, user)
  if (conversation.kind === 'room') return permitInRoom(deps, user, conversation.id)
  if (conversation.kind !== 'dm') {
    throw new AppError('forbidden', 'Only servers write here, with POST /push.')
  }
  const other = conversation.users[0] === user ? conversation.users[1] : conversation.users[0]
  const rows = await findUsers(deps.store, [...new Set([user, other])])
  const sender = rows.find(({ id }) => id === user)
  const receiver = rows.find(({ id }) => id === other)
  if (!sender) throw new AppError('user_not_found', 'The sender does not exist.')
  requireActive(sender)
  if (!receiver || receiver.deletedAt) throw new AppError('user_not_found', 'There is no such user.')
  if (await isBlocked(deps.store, other, user)) {
    throw new AppError('blocked', 'This user does not want your messages.')
  }
  return { memberVersion: 0, ttlMs: TTL_MS }
}

async function permitInRoom(deps: PermitDeps, user: string, room: string): Promise<logicRpc.PermitResponse> {
  const sender = await findUser(deps.store, user)
  if (!sender) throw new AppError('user_not_found', 'The sender does not exist.')
  requireActive(sender)
  const { mutedUntil, version } = await requireMember(deps, user, room)
  if (mutedUntil > Date.now()) {
    throw new AppError('muted', 'You are muted in this room.', { details: { mutedUntil } })
  }
  return { memberVersion: version, ttlMs: TTL_MS }
}
