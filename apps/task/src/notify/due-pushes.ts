/** From an entry to the devices that are pushed unless they acknowledge it in time. */
import { isRoom, parseConversation, parseOptions, roomEventOf } from '@tidings/protocol'
import { type DuePush, membersAfter, type Store } from '@tidings/store'
import { type Delivery, type Keys, type Redis, readMembers } from '@tidings/stream'
import { LRUCache } from 'lru-cache'
import { isForPeople, previewOf } from './pushable.js'
import type { Subscribers } from './subscribers.js'

/** In a larger room one message would be a row for each of thousands of devices. */
const LARGEST_ROOM = 1_000
/** Members of all rooms that are kept. */
const MOST_MEMBERS = 500_000
const KEPT_MS = 600_000

interface Room {
  /** Of the partition's ownership: what another owner has seen in between is not known here. */
  fence: number
  members: readonly string[]
}

export interface DuePushes {
  /** @throws AppError `unavailable` when Redis is away, or MySQL, where it is asked */
  of(delivery: Delivery): Promise<DuePush[]>
}

/** @param withText whether the beginning of a text may be shown */
export function createDuePushes(deps: {
  store: Store
  redis: Redis
  keys: Keys
  subscribers: Pick<Subscribers, 'devicesOf' | 'size'>
  withText: boolean
}): DuePushes {
  const { store, redis, keys, subscribers, withText } = deps
  const rooms = new LRUCache<string, Room>({
    maxSize: MOST_MEMBERS,
    sizeCalculation: ({ members }) => members.length + 1,
    ttl: KEPT_MS,
  })

  /** Of rooms that are being read: entries of a batch ask together. */
  const reading = new Map<string, Promise<readonly string[]>>()

  async function membersOf(room: string, { entry, fence }: Delivery): Promise<readonly string[]> {
    const { conversation } = entry
    const known = rooms.get(conversation)
    if (known?.fence === fence) return known.members
    const running = reading.get(conversation)
    if (running) return running
    const read = readAll(room, conversation).finally(() => reading.delete(conversation))
    reading.set(conversation, read)
    const members = await read
    rooms.set(conversation, { fence, members })
    return members
  }

  /** Redis says nothing of a room that is too large, nor of one that it has lost: MySQL has the same members, written before. */
  async function readAll(room: string, conversation: string): Promise<readonly string[]> {
    const members = await readMembers(redis, keys, conversation, LARGEST_ROOM)
    if (members) return members
    const rows = await membersAfter(store, room, '', LARGEST_ROOM + 1)
    return rows.length > LARGEST_ROOM ? [] : rows.map(({ user }) => user)
  }

  async function recipientsOf(delivery: Delivery): Promise<readonly string[]> {
    const conversation = parseConversation(delivery.entry.conversation)
    switch (conversation?.kind) {
      case 'dm':
        return [...new Set(conversation.users)]
      case 'feed':
        return [conversation.user]
      case 'room':
        return await membersOf(conversation.room, delivery)
      default:
        return []
    }
  }

  return {
    async of(delivery) {
      const { entry } = delivery
      // Whoever comes or goes with this entry: the next one asks again.
      if (isRoom(entry.conversation) && roomEventOf(entry)) {
        rooms.delete(entry.conversation)
        reading.delete(entry.conversation)
      }
      if (subscribers.size === 0 || !isForPeople(entry)) return []
      const preview = withText ? previewOf(entry) : ''
      const { conversation, seq, id, from } = entry
      const { expiresAt = null, priority } = (entry.options && parseOptions(entry.options)) || {}
      const about = { conversation, seq, id, from, preview, expiresAt, urgent: priority === 'high' }
      const createdAt = new Date(entry.sentAt)
      return (await recipientsOf(delivery)).flatMap((user) =>
        user === from
          ? []
          : subscribers
              .devicesOf(user)
              .filter(({ since }) => entry.sentAt >= since)
              .map(({ device }) => ({ ...about, user, device, createdAt })),
      )
    },
  }
}
