/** Who is online, for people who share a conversation: a direct one in which something was said, or a room. */
import { AppError, dmId, isRoom, type logicRpc } from '@tidings/protocol'
import type { LiveDevices } from '@tidings/registry'
import type { Logger } from '@tidings/service'
import { maxSeqs, type Store } from '@tidings/store'
import { fellowMembers, type Keys, type LogReader, type Redis, readSeen } from '@tidings/stream'
import { userOf } from './input.js'
import { orAway } from './replies.js'

const MOST_USERS = 200
/** Of somebody in more rooms the others are not looked at. */
const MOST_ROOMS = 500

export interface PresenceDeps {
  redis: Redis
  keys: Keys
  store: Store
  reader: LogReader
  liveDevices: LiveDevices
  log: Logger
}

/** @throws AppError `invalid_request`, `unavailable`, `overloaded` */
export async function presence(
  deps: PresenceDeps,
  request: logicRpc.PresenceRequest,
): Promise<logicRpc.PresenceResponse> {
  const asking = userOf(request.user)
  const users = [...new Set(request.users.map(userOf))]
  if (users.length > MOST_USERS) throw new AppError('invalid_request', `At most ${MOST_USERS} users in one call.`)
  const shared = await sharing(deps, asking, users)
  const known = users.filter((user) => user === asking || shared.has(user))
  const [devices, seen] = await Promise.all([deps.liveDevices.of(known), readSeen(deps.redis, deps.keys, known)])
  const people = known.map((user, i) => {
    const online = devices[i]! > 0
    return { user, online, devices: devices[i]!, lastSeen: online ? 0 : seen[i]! }
  })
  return { people }
}

/** Those of the users who share a conversation with one. */
async function sharing(deps: PresenceDeps, asking: string, users: readonly string[]): Promise<Set<string>> {
  const { redis, keys, reader } = deps
  const others = users.filter((user) => user !== asking)
  const heads = await reader.heads(others.map((other) => dmId(asking, other)))
  const found = new Set(others.filter((_, i) => heads[i]! > 0))
  const rest = (): string[] => others.filter((other) => !found.has(other))
  if (rest().length === 0) return found
  const rooms = (await orAway(redis.smembers(keys.conversations(asking)))).filter(isRoom).slice(0, MOST_ROOMS)
  for (const other of await fellowMembers(redis, keys, asking, rest(), rooms)) found.add(other)
  for (const other of await spokenToOnce(deps, asking, rest())) found.add(other)
  return found
}

/** What Redis has forgotten, MySQL knows. While that is away they count as strangers: nobody is shown what is not theirs. */
async function spokenToOnce(
  { store, log }: PresenceDeps,
  asking: string,
  others: readonly string[],
): Promise<readonly string[]> {
  if (others.length === 0) return others
  try {
    const stored = await maxSeqs(
      store,
      others.map((other) => dmId(asking, other)),
    )
    return others.filter((other) => stored.has(dmId(asking, other)))
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'unavailable') throw error
    log.debug({ user: asking }, 'mysql was not asked who shares a conversation')
    return []
  }
}
