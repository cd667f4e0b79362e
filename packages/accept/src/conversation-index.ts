/**
 * The conversation index of a user, in Redis: catch-up lists from it, so that the first message of a conversation is found before
 * MySQL knows the conversation.
 */
import { parseConversation } from '@tidings/protocol'
import { type Keys, onReconnect, type Redis, redisAway } from '@tidings/stream'
import { LRUCache } from 'lru-cache'

const MAX_REMEMBERED = 50_000

/**
 * @returns a function that adds a conversation to the indexes of its users, once per conversation and connection to Redis (a new
 * connection may mean a Redis that forgot)
 */
export function createConversationIndex(redis: Redis, keys: Keys): (conversation: string) => undefined | Promise<void> {
  const remembered = new LRUCache<string, true>({ max: MAX_REMEMBERED })
  onReconnect(redis, () => remembered.clear())

  async function add(conversation: string, users: readonly string[]): Promise<void> {
    try {
      await Promise.all(users.map((user) => redis.sadd(keys.conversations(user), conversation)))
    } catch (error) {
      throw redisAway(error)
    }
    remembered.set(conversation, true)
  }

  return (conversation) => {
    if (remembered.get(conversation)) return undefined
    const parsed = parseConversation(conversation)
    if (parsed?.kind === 'dm') return add(conversation, [...new Set(parsed.users)])
    return parsed?.kind === 'feed' ? add(conversation, [parsed.user]) : undefined
  }
}
