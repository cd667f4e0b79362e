/** Fences in Redis: what an older owner of a partition wants to settle is refused, and no two owners have the same fence. */
import type { Group, Keys } from './keys.js'
import { type Redis, redisAway } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const script = loadScript(scriptFile('fence.lua', import.meta.url))

/**
 * Makes `fence` the least that settles for the group, if it is higher than any before. After a lost reply, repeating it is refused.
 * @returns undefined, or the fence that is as high or higher
 * @throws AppError `unavailable`
 */
export async function raiseGroupFence(
  redis: Redis,
  keys: Keys,
  of: { group: Group; partition: number; fence: number },
): Promise<number | undefined> {
  try {
    return fenceIn(await script.run(redis, [keys.fence(of.partition, of.group)], [of.fence]))
  } catch (error) {
    throw redisAway(error)
  }
}

/** The higher fence in a script's reply `F <fence>`, or undefined for any other reply. */
export function fenceIn(reply: unknown): number | undefined {
  const text = String(reply)
  return text.startsWith('F ') ? Number(text.slice(2)) : undefined
}
