/** The only place where an entry is settled: finished, or set aside as a dead letter. */
import { fenceIn } from './fence.js'
import type { Group, Keys } from './keys.js'
import type { Redis } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const script = loadScript(scriptFile('settle.lua', import.meta.url))

/** Names and values that a letter keeps: a script cannot hand on more than 8,000 words. An entry of ours has 20. */
const MAX_FIELD_WORDS = 4_000

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
 * Settles entries for a group in one atomic step; dead letters go to the dead stream in the same step.
 * @param settlements of one partition, or on a single server of several
 * @returns for each undefined; or the fence of a newer owner that has been there already, or the error with which Redis refused: then
 * nothing of it was done
 * @throws when Redis is away: the entries stay pending
 */
export async function settle(
  redis: Redis,
  keys: Keys,
  group: Group,
  settlements: readonly Settlement[],
): Promise<(number | Error | undefined)[]> {
  // Only persist's mark means something: below it all is in MySQL.
  const args: (string | number)[] = [group, group === 'persist' ? 1 : 0]
  const names: string[] = []
  for (const { partition, fence, done, dead } of settlements) {
    names.push(keys.messages(partition), keys.dead(partition, group), keys.mark(partition, group))
    names.push(keys.fence(partition, group))
    args.push(fence, done.length, dead.length, ...done)
    for (const letter of dead) {
      const fields = letter.fields.slice(0, MAX_FIELD_WORDS)
      const cut = letter.fields.length - fields.length
      const reason = cut === 0 ? letter.reason : `${letter.reason} (without ${cut / 2} of its fields)`
      args.push(letter.streamId, reason, letter.deliveries, fields.length)
      for (const word of fields) args.push(word)
    }
  }
  const replies = (await script.run(redis, names, args)) as string[]
  return replies.map((reply) => (reply.startsWith('E ') ? new Error(reply.slice(2)) : fenceIn(reply)))
}
