/** Who does not want to be written to by whom. A block holds in one direction: the one who blocks may still write. */
import { AppError, type logicRpc, revokedSends } from '@tidings/protocol'
import { addBlock, blocksAfter, findUser, removeBlock, type Store } from '@tidings/store'
import { limitOf, userOf } from './input.js'
import type { UserDeps } from './users.js'

const LIMIT = { default: 50, max: 200 }

/**
 * MySQL first: from then on it lets nobody give a permit, and whoever keeps one, or what it follows from, is told to forget it sooner or later.
 * @throws AppError `user_not_found`, `invalid_request` for oneself, `unavailable`: repeat it
 */
export async function block(deps: UserDeps, request: logicRpc.BlockRequest): Promise<void> {
  const user = userOf(request.user)
  const blocked = userOf(request.blocked)
  if (user === blocked) throw new AppError('invalid_request', 'Nobody can block oneself.')
  const known = await findUser(deps.store, blocked)
  if (!known || known.deletedAt) throw new AppError('user_not_found', 'There is no such user.')
  await addBlock(deps.store, user, blocked, new Date())
  await deps.revocations.publish([revokedSends(blocked, user)])
}

/**
 * That somebody may write again is told to nobody: the edges keep no refusal.
 * @throws AppError `user_not_found` for a name that never was, `invalid_request`, `unavailable`: repeat it
 */
export async function unblock(store: Store, request: logicRpc.UnblockRequest): Promise<void> {
  const user = userOf(request.user)
  const blocked = userOf(request.blocked)
  if (!(await findUser(store, blocked))) throw new AppError('user_not_found', 'There is no such user.')
  await removeBlock(store, user, blocked)
}

/** @throws AppError `invalid_request`, `unavailable` */
export async function listBlocks(
  store: Store,
  request: logicRpc.ListBlocksRequest,
): Promise<logicRpc.ListBlocksResponse> {
  const limit = limitOf(request.limit, LIMIT)
  const after = request.cursor === '' ? '' : userOf(request.cursor)
  const users = await blocksAfter(store, userOf(request.user), after, limit + 1)
  const page = users.slice(0, limit)
  return { users: page, nextCursor: users.length > limit ? page.at(-1)! : '' }
}
