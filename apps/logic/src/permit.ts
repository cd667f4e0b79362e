/** May these users write here? */
import { AppError, type Conversation, type logicRpc, requirePossibleParty } from '@tidings/protocol'
import { blocksAmong, findUsers, type Store, type UserRow } from '@tidings/store'
import { userOf } from './input.js'
import { andThen, type Outcome, outcomes } from './outcome.js'
import { type MembershipDeps, requireMember } from './rooms/membership.js'
import { requireActive } from './users.js'

/**
 * How long an answer may be kept. Who is disabled, deleted or blocked meanwhile is told to the edges; who is in a room and not muted is
 * asked again by the append.
 */
const TTL_MS = 600_000
const MAX_PERMITS = 500

export type PermitDeps = MembershipDeps & { store: Store }

type Permit = Pick<logicRpc.PermitResponse, 'ttlMs'>

interface Asked {
  user: string
  conversation: Conversation
  /** The other one of a direct conversation; oneself in one with oneself. */
  other: string | undefined
}

/**
 * One look into MySQL for all. Failures of each: AppError `conversation_not_found`, `user_not_found`, `forbidden`, `blocked`,
 * `user_disabled`, `invalid_request`, `unavailable`.
 * @throws AppError `invalid_request` for too many, `unavailable`
 */
export async function permits(deps: PermitDeps, request: logicRpc.PermitsRequest): Promise<Outcome<Permit>[]> {
  if (request.permits.length > MAX_PERMITS)
    throw new AppError('invalid_request', `At most ${MAX_PERMITS} permits in one call.`)
  const asked = await outcomes(request.permits, readAsked)
  return andThen(asked, async (all) => {
    const names = all.flatMap(({ user, other = user }) => [user, other])
    const pairs = all.flatMap(({ user, other }) => (other === undefined ? [] : [[other, user] as const]))
    const [rows, blocked] = await Promise.all([
      findUsers(deps.store, [...new Set(names)]),
      blocksAmong(deps.store, pairs),
    ])
    const known = new Map(rows.map((row) => [row.id, row]))
    return outcomes(all, (one) => decide(deps, one, known, blocked))
  })
}

function readAsked(request: logicRpc.PermitRequest): Asked {
  const user = userOf(request.user)
  const conversation = requirePossibleParty(request.conversation, user)
  if (conversation.kind === 'room') return { user, conversation, other: undefined }
  if (conversation.kind !== 'dm') throw new AppError('forbidden', 'Only servers write here, with POST /push.')
  const [first, second] = conversation.users
  return { user, conversation, other: first === user ? second : first }
}

async function decide(
  deps: PermitDeps,
  { user, conversation, other }: Asked,
  known: ReadonlyMap<string, UserRow>,
  blocked: ReadonlySet<string>,
): Promise<Permit> {
  const sender = known.get(user)
  if (!sender) throw new AppError('user_not_found', 'The sender does not exist.')
  requireActive(sender)
  if (other === undefined) {
    await requireMember(deps, user, conversation.id)
    return { ttlMs: TTL_MS }
  }
  const receiver = known.get(other)
  if (!receiver || receiver.deletedAt) throw new AppError('user_not_found', 'There is no such user.')
  if (blocked.has(`${other} ${user}`)) throw new AppError('blocked', 'This user does not want your messages.')
  return { ttlMs: TTL_MS }
}
