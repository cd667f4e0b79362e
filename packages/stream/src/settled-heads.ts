/** Which heads a group must have come to by now, whatever it has read. */
import type { Group, Keys } from './keys.js'
import { type Redis, redisAway } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const script = loadScript(scriptFile('settled-heads.lua', import.meta.url))

const OVERLAP_MS = 2_000
/** No call runs for so long, so no entry's id is so much later than its conversation's score. */
const APPEND_MS = 2_000
const PAGE = 500

/** Up to when an earlier look has seen everything. */
export interface LookedUpTo {
  /** By Redis' clock, ms since 1970. */
  redisMs: number
  /** performance.now() at that look. */
  at: number
}

export interface SettledHeads {
  /** Everything that was appended before is settled; by Redis' clock, ms since 1970. */
  redisMs: number
  heads: readonly { conversation: string; head: number }[]
  /** For the next page; undefined after the last one. */
  next: string | undefined
}

/**
 * A page of the conversations whose every entry the group has settled, with their heads; of the last hour's, those that changed
 * since the earlier look.
 * @param since undefined for the whole hour
 * @param page what the page before has given as `next`
 * @returns undefined while the group or its stream is not there
 * @throws AppError `unavailable`
 */
export async function settledHeads(
  redis: Redis,
  keys: Keys,
  group: Group,
  partition: number,
  { since, page }: { since: LookedUpTo | undefined; page: string | undefined },
): Promise<SettledHeads | undefined> {
  const elapsed = since ? Math.ceil(performance.now() - since.at) : 0
  const prefix = `${keys.namespace}:{${partition}}:seq:`
  let reply: string[]
  try {
    reply = (await script.run(
      redis,
      [keys.messages(partition), keys.recent(partition)],
      [group, since?.redisMs ?? '', elapsed, OVERLAP_MS, page ?? '', PAGE, prefix, APPEND_MS],
    )) as string[]
  } catch (error) {
    throw redisAway(error)
  }
  const [redisMs, next, ...flat] = reply
  if (redisMs === undefined) return undefined
  const heads: { conversation: string; head: number }[] = []
  for (let i = 0; i + 1 < flat.length; i += 2) heads.push({ conversation: flat[i]!, head: Number(flat[i + 1]) })
  return { redisMs: Number(redisMs), heads, next: next === '' ? undefined : next }
}
