/**
 * May somebody change a message, and where is it? Who may is decided here; what depends on the order of the log, such as whether it was
 * recalled before, is decided by the append of the change (packages/stream/src/append.lua).
 */
import { AppError, type Entry, isChangeable, type logicRpc, parseConversation } from '@tidings/protocol'
import { findFold, findMember } from '@tidings/store'
import { mergeFolds, redisAway } from '@tidings/stream'
import { oneOf, userOf } from './input.js'
import { type FindDeps, requireMessage } from './message-state.js'

const TYPES = ['edit', 'recall', 'reaction'] as const

export interface ChangeDeps extends FindDeps {
  /** Seconds after it was sent in which a message may be edited, and recalled; 0: without end. */
  editWindowS: number
  recallWindowS: number
}

/**
 * Whether the user may write there is asked by the permit, as for every send.
 * @throws AppError `message_not_found`, `message_not_changeable`, `forbidden`, `invalid_request`, `overloaded`; `unavailable` when a source is away
 */
export async function authorizeChange(
  deps: ChangeDeps,
  request: logicRpc.AuthorizeChangeRequest,
): Promise<logicRpc.AuthorizeChangeResponse> {
  const user = userOf(request.user)
  const type = oneOf('type', TYPES, request.type)
  const { entry, stored } = await requireMessage(deps, user, request.id)
  // A stub is no message any more: the append says so, or that all is so already.
  const isStub = entry.content === ''
  if (!isStub && !isChangeable(entry.type))
    throw new AppError('message_not_changeable', 'Only messages that somebody wrote can be changed.')
  await requireRight(deps, user, entry, type)
  const { conversation, seq, sentAt } = entry
  const base = stored && entry.extra !== undefined ? await makeKnown(deps, conversation, seq) : 0
  const windowS = { edit: deps.editWindowS, recall: deps.recallWindowS, reaction: 0 }[type]
  const until = windowS === 0 ? 0 : sentAt + windowS * 1_000
  return { conversation, seq, sentAt, base, until, type: entry.type }
}

/** @throws AppError `forbidden`, `unavailable` */
async function requireRight(
  { store }: ChangeDeps,
  user: string,
  { conversation, from }: Entry,
  type: (typeof TYPES)[number],
): Promise<void> {
  if (type === 'reaction' || user === from) return
  if (type === 'edit') throw new AppError('forbidden', 'Only its sender may edit a message.')
  const parsed = parseConversation(conversation)
  const member = parsed?.kind === 'room' ? await findMember(store, parsed.room, user) : undefined
  if (member?.role === 'owner' || member?.role === 'admin') return
  throw new AppError('forbidden', 'Only its sender, or an admin of the room, may recall a message.')
}

/** Redis may have forgotten what was changed before: then it is told. @returns the seq of the newest change that MySQL knows */
async function makeKnown({ redis, keys, store }: ChangeDeps, conversation: string, seq: number): Promise<number> {
  const fold = await findFold(store, conversation, seq)
  if (!fold) return 0
  try {
    await mergeFolds(redis, keys, conversation, [{ seq, fold }])
  } catch (error) {
    throw redisAway(error)
  }
  return fold.last.seq
}
