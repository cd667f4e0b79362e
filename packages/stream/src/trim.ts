/** Forgetting what is stored. Only what lies below persist's mark is ever cut. */
import { trimFolds } from './folds.js'
import type { Keys } from './keys.js'
import { type Redis, redisAway } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const script = loadScript(scriptFile('idle.lua', import.meta.url))

/** Entries of a conversation's log that stay for catching up, however well stored. */
export const LOG_KEEPS = 1_000
/** How long a stored entry stays in the stream for whoever looks with redis-cli. */
const STREAM_KEEPS_MS = 30_000
const IDLE_AFTER_MS = 3_600_000
const IDLE_LOG_LIVES_S = 82_800
const IDLE_PER_CALL = 500

/** Cuts a conversation's log, and its folds: what is stored and older than the newest thousand. @param stored the newest seq in MySQL */
export async function trimLog(redis: Redis, keys: Keys, conversation: string, stored: number): Promise<void> {
  const head = Number((await redis.get(keys.seq(conversation))) ?? 0)
  const keepFrom = Math.min(stored + 1, head - LOG_KEEPS)
  if (keepFrom <= 1) return
  await redis.xtrim(keys.log(conversation), 'MINID', '~', `${keepFrom}-0`)
  await trimFolds(redis, keys, conversation, stored)
}

/**
 * Cuts what retention removes from a conversation's log: exactly, however new it is among its entries.
 * @param floor the newest seq to go; it is stored
 * @throws AppError `unavailable`
 */
export async function expireLog(redis: Redis, keys: Keys, conversation: string, floor: number): Promise<void> {
  try {
    await redis.xtrim(keys.log(conversation), 'MINID', `${floor + 1}-0`)
  } catch (error) {
    throw redisAway(error)
  }
}

/**
 * Forgets what changes have made of entries that `expireLog` has cut a while ago: whoever had read the log before looked at the folds behind it.
 * @throws AppError `unavailable`
 */
export async function expireFolds(redis: Redis, keys: Keys, conversation: string, floor: number): Promise<void> {
  try {
    const key = keys.fold(conversation)
    const gone = (await redis.hkeys(key)).filter((seq) => Number(seq) <= floor)
    if (gone.length > 0) await redis.hdel(key, ...gone)
  } catch (error) {
    throw redisAway(error)
  }
}

function idBefore(a: string, b: string): boolean {
  const [aMs, aCount] = a.split('-').map(Number) as [number, number]
  const [bMs, bCount] = b.split('-').map(Number) as [number, number]
  return aMs < bMs || (aMs === bMs && aCount < bCount)
}

export interface Janitor {
  /** Trims the partition's stream. */
  trim(partition: number): Promise<void>
  /** Lets the logs of its idle conversations expire. */
  forgetIdle(partition: number): Promise<void>
}

/**
 * Keeps a partition small; run by persist's owner. Remembers marks, so that what is cut was stored half a minute ago.
 * @param streamKeepsMs how long a stored entry stays in the stream
 */
export function createJanitor(redis: Redis, keys: Keys, streamKeepsMs: number = STREAM_KEEPS_MS): Janitor {
  const remembered = new Map<number, { mark: string; at: number }>()
  return {
    async trim(partition) {
      const mark = await redis.get(keys.mark(partition, 'persist'))
      if (mark === null) return
      const old = remembered.get(partition)
      const now = performance.now()
      // A mark that went back is another server's, and what was remembered says nothing about its stream.
      if (!old || idBefore(mark, old.mark)) remembered.set(partition, { mark, at: now })
      else if (now - old.at >= streamKeepsMs) {
        await redis.xtrim(keys.messages(partition), 'MINID', '~', old.mark)
        remembered.set(partition, { mark, at: now })
      }
    },
    async forgetIdle(partition) {
      const prefix = `${keys.namespace}:{${partition}}`
      await script.run(
        redis,
        [keys.recent(partition), keys.mark(partition, 'persist')],
        [IDLE_AFTER_MS, IDLE_LOG_LIVES_S, IDLE_PER_CALL, ...['log', 'fold'].map((kind) => `${prefix}:${kind}:`)],
      )
    },
  }
}
