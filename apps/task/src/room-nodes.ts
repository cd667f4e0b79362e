/**
 * Which nodes an entry of a room goes to. Of a small room: those with a session of a member. Of a large one: all, for it has somebody
 * nearly everywhere, and to look up each member for every entry would cost more than a copy that a node drops. More nodes than
 * necessary do no harm: who is in the room, the node knows itself (connect's deliver.ts).
 */
import { AppError, isRoom, roomEventOf } from '@tidings/protocol'
import { type Delivery, type Keys, type Redis, readMembers } from '@tidings/stream'
import { LRUCache } from 'lru-cache'

/** A room with more members is large. */
const SMALL = 200
const MAX_KEPT = 10_000
/** A large room may have become small. */
const KEPT_MS = 600_000

/** Where the sessions of a user are; see registry's `mirrorRoutes`. */
export interface Where {
  nodesOf(user: string): Iterable<string>
}

interface Known {
  /** Of the partition's ownership: what another owner has seen in between is not known here. */
  fence: number
  /** Undefined for a large room. */
  members: Set<string> | undefined
  /** Somebody has left: the next batch asks again. Until then they are routed to, for earlier entries may be theirs. */
  outdated: boolean
}

/** Of one batch: what a later one learns meanwhile, that somebody is gone, is no answer for its entries. */
export interface BatchNodes {
  nodesOf(delivery: Delivery): Iterable<string>
  /** Where everybody is. */
  allNodes(): Iterable<string>
}

export interface RoomNodes {
  /** Learns who is in the rooms of a batch, from Redis and from the entries themselves. */
  learn(batch: readonly Delivery[]): Promise<BatchNodes>
}

/** @param allNodes the listed nodes */
export function createRoomNodes(deps: {
  redis: Redis
  keys: Keys
  where: Where
  allNodes: () => Iterable<string>
}): RoomNodes {
  const { redis, keys, where, allNodes } = deps
  const kept = new LRUCache<string, Known>({ max: MAX_KEPT, ttl: KEPT_MS })

  async function load({ entry, fence }: Delivery): Promise<Known> {
    try {
      const members = await readMembers(redis, keys, entry.conversation, SMALL)
      const known = { fence, members: members && new Set(members), outdated: false }
      kept.set(entry.conversation, known)
      return known
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      // What is kept is older than the reason to ask.
      kept.delete(entry.conversation)
      return { fence, members: undefined, outdated: true }
    }
  }

  /** @param own what the batch knows of the room by an earlier entry: read from Redis after all of the batch was appended */
  async function learnOne(delivery: Delivery, outdated: boolean, own: Known | undefined): Promise<Known> {
    const { entry, fence } = delivery
    const before = own ?? kept.get(entry.conversation)
    const known = before && before.fence === fence && !outdated ? before : await load(delivery)
    const event = roomEventOf(entry)
    if (!event) return known
    for (const user of [...(event.joined ?? []), ...(event.left ?? [])]) known.members?.add(user)
    if ((known.members?.size ?? 0) > SMALL) known.members = undefined
    if (event.left || event.change === 'deleted') known.outdated = true
    return known
  }

  return {
    async learn(batch) {
      const learned = new Map<string, Known>()
      const outdated = new Set<string>()
      for (const { entry } of batch) if (kept.get(entry.conversation)?.outdated) outdated.add(entry.conversation)
      for (const delivery of batch) {
        const { conversation } = delivery.entry
        if (!isRoom(conversation)) continue
        const own = learned.get(conversation)
        learned.set(conversation, await learnOne(delivery, outdated.delete(conversation), own))
      }
      return {
        allNodes,
        nodesOf({ entry }) {
          const members = learned.get(entry.conversation)?.members
          if (!members) return allNodes()
          const nodes = new Set<string>()
          for (const user of members) for (const node of where.nodesOf(user)) nodes.add(node)
          return nodes
        },
      }
    },
  }
}
