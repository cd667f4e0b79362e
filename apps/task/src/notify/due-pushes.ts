/** From an entry to the devices that are pushed unless they acknowledge it in time. */
import { isRoom, parseConversation, parseOptions, roomEventOf } from '@tidings/protocol'
import { type DuePush, membersAfter, type Store, type WideEntry } from '@tidings/store'
import { type Delivery, type Keys, type Redis, readMembers } from '@tidings/stream'
import { LRUCache } from 'lru-cache'
import { isForPeople, previewOf } from './pushable.js'
import type { Subscribers } from './subscribers.js'

/** In a larger room one message would be a row for each of thousands of devices: it is one for the room, see push-passes.ts. */
const LARGEST_ROOM = 1_000
/** Members of all rooms that are kept. */
const MOST_MEMBERS = 500_000
const KEPT_MS = 600_000

interface Room {
  /** Of the partition's ownership: what another owner has seen in between is not known here. */
  fence: number
  members: Recipients
}

/** `many`: too many for a row each. */
type Recipients = readonly string[] | 'many'

/** What an entry is due to. */
export interface Due {
  devices: DuePush[]
  /** It is for more people than are looked at one by one. */
  wide?: WideEntry
}

export interface DuePushes {
  /** @throws AppError `unavailable` when Redis is away, or MySQL, where it is asked */
  of(delivery: Delivery): Promise<Due>
}

const NOBODY: Due = { devices: [] }

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
    sizeCalculation: ({ members }) => (members === 'many' ? 1 : members.length + 1),
    ttl: KEPT_MS,
  })

  /** Of rooms that are being read: entries of a batch ask together. */
  const reading = new Map<string, Promise<Recipients>>()

  async function membersOf(room: string, { entry, fence }: Delivery): Promise<Recipients> {
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
  async function readAll(room: string, conversation: string): Promise<Recipients> {
    const members = await readMembers(redis, keys, conversation, LARGEST_ROOM)
    if (members) return members
    const rows = await membersAfter(store, room, '', LARGEST_ROOM + 1)
    return rows.length > LARGEST_ROOM ? 'many' : rows.map(({ user }) => user)
  }

  async function recipientsOf(delivery: Delivery): Promise<Recipients> {
    const conversation = parseConversation(delivery.entry.conversation)
    switch (conversation?.kind) {
      case 'dm':
        return [...new Set(conversation.users)]
      case 'feed':
        return [conversation.user]
      case 'room':
        return await membersOf(conversation.room, delivery)
      case 'everyone':
        return 'many'
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
      if (subscribers.size === 0 || !isForPeople(entry)) return NOBODY
      const recipients = await recipientsOf(delivery)
      const { conversation, seq, id, from, sentAt } = entry
      if (recipients === 'many') return { devices: [], wide: { conversation, seq, sentAt } }
      const preview = withText ? previewOf(entry) : ''
      const { expiresAt = null, priority } = (entry.options && parseOptions(entry.options)) || {}
      const about = { conversation, seq, id, from, preview, expiresAt, urgent: priority === 'high' }
      const createdAt = new Date(sentAt)
      const devices = recipients.flatMap((user) =>
        user === from
          ? []
          : subscribers
              .devicesOf(user)
              .filter(({ since }) => sentAt >= since)
              .map(({ device }) => ({ ...about, user, device, createdAt })),
      )
      return { devices }
    },
  }
}
