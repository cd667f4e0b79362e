/** Taking over what another consumer read and did not settle. Only the partition's owner does it. */
import type { Group, Keys } from './keys.js'
import type { Redis } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const script = loadScript(scriptFile('reclaim.lua', import.meta.url))

/** An entry of a stream as Redis gives it. */
export type StreamRow = [id: string, fields: string[]]

const FORGET_AFTER_MS = 600_000

/**
 * @param from limit: most entries taken over; forgetAfterMs: a consumer with nothing pending is removed after so long without a read
 * @returns entries that are now ours, and how many had been deleted from the stream
 */
export async function reclaim(
  redis: Redis,
  keys: Keys,
  from: { group: Group; consumer: string; partition: number; limit: number; forgetAfterMs?: number },
): Promise<{ rows: StreamRow[]; lost: number }> {
  const reply = (await script.run(
    redis,
    [keys.messages(from.partition)],
    [from.group, from.consumer, from.limit, from.forgetAfterMs ?? FORGET_AFTER_MS],
  )) as [StreamRow[], string[]]
  return { rows: reply[0], lost: reply[1].length }
}
