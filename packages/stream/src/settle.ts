/** The only place where an entry is settled: finished, or set aside as a dead letter. */
import { fenceIn } from './fence.js'
import type { Group, Keys } from './keys.js'
import type { Redis } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const script = loadScript(scriptFile('settle.lua', import.meta.url))

export interface DeadLetter {
  streamId: string
  /** The entry's fields as they were found, name and value in turn. */
  fields: readonly string[]
  /** Why it can never succeed. */
  reason: string
  /** How often it was tried. */
  deliveries: number
}

export interface Settlement {
  partition: number
  fence: number
  done: readonly string[]
  dead: readonly DeadLetter[]
}

/**
 * Settles a partition's entries for a group in one atomic step; dead letters go to the dead stream in the same step.
 * @returns undefined, or the fence of a newer owner that has been there already: then nothing was done
 * @throws when Redis is away: the entries stay pending
 */
export async function settle(
  redis: Redis,
  keys: Keys,
  group: Group,
  settlement: Settlement,
): Promise<number | undefined> {
  const { partition, fence, done, dead } = settlement
  // Only persist's mark means something: below it all is in MySQL.
  const args: (string | number)[] = [group, fence, group === 'persist' ? 1 : 0, done.length, ...done]
  for (const letter of dead) {
    args.push(letter.streamId, letter.reason, letter.deliveries, letter.fields.length, ...letter.fields)
  }
  const reply = await script.run(
    redis,
    [keys.messages(partition), keys.dead(partition, group), keys.mark(partition, group), keys.fence(partition, group)],
    args,
  )
  return fenceIn(reply)
}
