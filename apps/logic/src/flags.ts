/** What a user has set for a conversation: muted, pinned. It changes nothing of what is delivered: clients and notifications go by it. */
import { AppError, type logicRpc, requirePossibleParty } from '@tidings/protocol'
import { setFlags as saveFlags } from '@tidings/store'
import { readHeads } from './heads.js'
import { type HistoryDeps, requireOtherParty } from './history.js'
import { userOf } from './input.js'
import { floorOf } from './rooms/membership.js'

/** @throws AppError `conversation_not_found`, `invalid_request`, `unavailable` */
export async function setFlags(
  deps: HistoryDeps,
  request: logicRpc.SetFlagsRequest,
): Promise<logicRpc.ConversationFlags> {
  const user = userOf(request.user)
  const conversation = requirePossibleParty(request.conversation, user)
  const { mutedUntil, pinned } = request
  if (mutedUntil === undefined && pinned === undefined) throw new AppError('invalid_request', 'Give muted or pinned.')
  if (mutedUntil !== undefined && (!Number.isSafeInteger(mutedUntil) || mutedUntil < 0))
    throw new AppError('invalid_request', 'mutedUntil is in milliseconds since 1970.')
  await floorOf(deps, user, conversation)
  const { id } = conversation
  if ((await readHeads(deps, [id])).get(id) === 0) await requireOtherParty(deps.store, conversation, user)
  const wanted = { ...(mutedUntil !== undefined && { mutedUntil }), ...(pinned !== undefined && { pinned }) }
  return saveFlags(deps.store, user, id, wanted, new Date())
}
