/** May these users write here? */
import { AppError, type Conversation, type logicRpc, requirePossibleParty } from '@tidings/protocol'
import { blocksAmong, findUsers, type Store } from '@tidings/store'
import { userOf } from './input.js'
import type { KeptUser, KeptUsers } from './kept-users.js'
import { andThen, type Outcome, outcomes } from './outcome.js'
import { type MembershipDeps, requireMember } from './rooms/membership.js'
import { requireActive } from './users.js'

/**
 * How long an answer may be kept. Who is disabled, deleted or blocked meanwhile is told to the edges; who is in a room and not muted is
 * asked again by the append.
 */
const TTL_MS = 600_000
const MAX_PERMITS = 500

export type PermitDeps = MembershipDeps & { store: Store; keptUsers: KeptUsers }

type Permit = Pick<logicRpc.PermitResponse, 'ttlMs'>

interface Asked {
  user: string
  conversation: Conversation
  /** The other one of a direct conversation; oneself in one with oneself. */
  other: string | undefined
}

/** What is known of those who are asked about. */
interface Facts {
  /** @returns undefined when there is no such user @throws AppError `unavailable` */
  user(id: string): KeptUser | undefined
  /** Does the user not want to hear from the other? @throws AppError `unavailable` */
  blocks(user: KeptUser, other: string): boolean
}

/**
 * One look into MySQL for all; while it does not answer, what is kept of users who act, to users who block nobody. Failures of each:
 * AppError `conversation_not_found`, `user_not_found`, `forbidden`, `blocked`, `user_disabled`, `invalid_request`, `unavailable`.
 * @throws AppError `invalid_request` for too many, `unavailable`
 */
export async function permits(deps: PermitDeps, request: logicRpc.PermitsRequest): Promise<Outcome<Permit>[]> {
  if (request.permits.length > MAX_PERMITS)
    throw new AppError('invalid_request', `At most ${MAX_PERMITS} permits in one call.`)
  const asked = await outcomes(request.permits, readAsked)
  return andThen(asked, async (all) => {
    const facts = await factsOf(deps, all)
    return outcomes(all, (one) => decide(deps, one, facts))
  })
}

async function factsOf({ store, keptUsers }: PermitDeps, asked: readonly Asked[]): Promise<Facts> {
  const names = [...new Set(asked.flatMap(({ user, other = user }) => [user, other]))]
  const pairs = asked.flatMap(({ user, other }) => (other === undefined ? [] : [[other, user] as const]))
  const answer = await keptUsers.ask(names, async () => {
    const [users, blocks] = await Promise.all([findUsers(store, names), blocksAmong(store, pairs)])
    return { users, blocks }
  })
  if (!answer) return { user: keptUsers.require, blocks: requireNoBlocks }
  const known = new Map(answer.users.map((one) => [one.id, one]))
  return { user: (id) => known.get(id), blocks: ({ id }, other) => answer.blocks.has(`${id} ${other}`) }
}

/** Whom somebody blocks only MySQL knows; somebody who blocks nobody does not block this one. */
function requireNoBlocks({ hasBlocks }: KeptUser): false {
  if (!hasBlocks) return false
  throw new AppError('unavailable', 'Whether this user wants your messages cannot be told now.', { retryAfter: 2 })
}

function readAsked(request: logicRpc.PermitRequest): Asked {
  const user = userOf(request.user)
  const conversation = requirePossibleParty(request.conversation, user)
  if (conversation.kind === 'room') return { user, conversation, other: undefined }
  if (conversation.kind !== 'dm') throw new AppError('forbidden', 'Only servers write here, with POST /push.')
  const [first, second] = conversation.users
  return { user, conversation, other: first === user ? second : first }
}

async function decide(deps: PermitDeps, { user, conversation, other }: Asked, facts: Facts): Promise<Permit> {
  const sender = facts.user(user)
  if (!sender) throw new AppError('user_not_found', 'The sender does not exist.')
  requireActive(sender)
  if (other === undefined) {
    await requireMember(deps, user, conversation.id)
    return { ttlMs: TTL_MS }
  }
  const receiver = facts.user(other)
  if (!receiver || receiver.deletedAt) throw new AppError('user_not_found', 'There is no such user.')
  if (facts.blocks(receiver, user)) throw new AppError('blocked', 'This user does not want your messages.')
  return { ttlMs: TTL_MS }
}
