/** Consumer groups in Redis. */
import type { Group, Keys } from './keys.js'
import type { Redis } from './redis.js'

/**
 * Makes sure that the group reads each partition's stream, from its beginning: `$` would skip what lies there already.
 * @throws when Redis is away
 */
export async function ensureGroups(
  redis: Redis,
  keys: Keys,
  group: Group,
  partitions: Iterable<number>,
): Promise<void> {
  for (const partition of partitions) {
    try {
      await redis.xgroup('CREATE', keys.messages(partition), group, '0', 'MKSTREAM')
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('BUSYGROUP')) throw error
    }
  }
}
