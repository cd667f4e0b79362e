/** Up to where a person has read. Redis has it; MySQL, written behind, has it again after Redis lost it. */
import { AppError, type logicRpc, requirePossibleParty } from '@tidings/protocol'
import { type Read, type ReadPosition, readEntries, readPositions, type Store } from '@tidings/store'
import { type Keys, type LogReader, type Redis, together } from '@tidings/stream'
import { readHeads } from './heads.js'
import { seqOf, userOf } from './input.js'
import { orAway } from './replies.js'
import { floorOf, type MembershipDeps } from './rooms/membership.js'
import { loadScript } from './script.js'
import type { WriteBehind } from './write-behind.js'

const moveForward = loadScript('read.lua')
enum Moved {
  Unknown = -1,
  Forward = 1,
}

export interface ReadDeps {
  redis: Redis
  keys: Keys
  store: Store
  reader: LogReader
  writeBehind: WriteBehind
}

/**
 * Moves a read position forward. Cumulative: repeating it changes nothing.
 * @throws AppError `conversation_not_found`, `invalid_request`, `beyond_head`, `overloaded`, `unavailable`
 */
export async function read(deps: ReadDeps & MembershipDeps, request: logicRpc.ReadRequest): Promise<void> {
  const user = userOf(request.user)
  const seq = seqOf('seq', request.seq)
  const conversation = requirePossibleParty(request.conversation, user)
  const { id } = conversation
  await floorOf(deps, user, conversation)
  if (seq === 0) return
  const head = (await readHeads(deps, [id])).get(id)!
  if (seq > head) throw new AppError('beyond_head', `The newest seq of this conversation is ${head}.`)
  let target: ReadPosition = { seq, n: await countUpTo(deps, id, seq) }
  let moved = await move(deps, id, user, target, false)
  if (moved === Moved.Unknown) {
    const stored = await storedPosition(deps.store, user, id)
    if (stored && stored.seq > seq) target = stored
    moved = await move(deps, id, user, target, true)
  }
  if (moved === Moved.Forward) await deps.writeBehind.add([], [], [{ user, conversation: id, ...target }])
}

const move = async ({ redis, keys }: ReadDeps, conversation: string, user: string, to: ReadPosition, fresh: boolean) =>
  (await moveForward(redis, [keys.read(conversation)], [user, to.seq, to.n, fresh ? 1 : 0])) as number

/** With MySQL away it counts as none: whoever looks takes the further one of both, and MySQL keeps the further one. */
async function storedPosition(store: Store, user: string, conversation: string): Promise<ReadPosition | undefined> {
  try {
    return (await readPositions(store, user, [conversation])).get(conversation)
  } catch (error) {
    if (error instanceof AppError && error.code === 'unavailable') return undefined
    throw error
  }
}

/**
 * How many messages there are up to a seq: n of the entry there, or, in a void, of the one before.
 * @throws AppError `unavailable`
 */
export async function countUpTo(
  { reader, store }: Pick<ReadDeps, 'reader' | 'store'>,
  conversation: string,
  seq: number,
): Promise<number> {
  const [logged] = await reader.before(conversation, seq + 1, 1)
  if (logged?.seq === seq) return logged.n
  const [stored] = await readEntries(store, conversation, { before: seq + 1, limit: 1 })
  return Math.max(logged?.n ?? 0, stored?.entry.n ?? 0)
}

/**
 * The read position of a user in each conversation, the further one of what Redis and MySQL know; 0 where there is none. Own sends
 * move it in Redis alone: what MySQL lacks of that is written behind here, once per look, and not once per message.
 * @throws AppError `overloaded`, `unavailable`
 */
export async function readUpTo(
  { redis, keys, store, writeBehind }: Omit<ReadDeps, 'reader'>,
  user: string,
  conversations: readonly string[],
): Promise<ReadPosition[]> {
  const [known, stored] = await Promise.all([
    orAway(together(redis, () => Promise.all(conversations.map((one) => redis.hget(keys.read(one), user))))),
    readPositions(store, user, conversations),
  ])
  const ahead: Read[] = []
  const positions = conversations.map((conversation, i) => {
    const [seq = 0, n = 0] = (known[i] ?? '').split(':').map(Number)
    const behind = stored.get(conversation) ?? { seq: 0, n: 0 }
    if (seq <= behind.seq) return behind
    ahead.push({ user, conversation, seq, n })
    return { seq, n }
  })
  if (ahead.length > 0) await writeBehind.add([], [], ahead)
  return positions
}
