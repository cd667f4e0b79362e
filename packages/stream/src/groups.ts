/** Consumer groups in Redis. */
import type { Group, Keys } from './keys.js'
import type { Redis } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const script = loadScript(scriptFile('group.lua', import.meta.url))

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
  for (const partition of partitions) await script.run(redis, [keys.messages(partition)], [group])
}
