/**
 * Messages that an operator wants to know of: which, by whom, and what was found in them. Written down behind the answer to their
 * senders, in Redis, the newest ones of all partitions in one place; what does not fit or cannot be written is counted and logged.
 */
import type { Logger } from '@tidings/service'
import { type Keys, type Redis, redisAway } from '@tidings/stream'

/** The newest ones stay. */
const MAX_KEPT = 10_000
/** That wait to be written. */
const MAX_WAITING = 1_000
/** A Snowflake has up to 19 digits: with leading zeros, ids are in order as texts. */
const ID_DIGITS = 19

export interface FlaggedMessage {
  id: string
  conversation: string
  seq: number
  from: string
  type: string
  /** Milliseconds since 1970. */
  sentAt: number
  /** As the list has them. */
  words: readonly string[]
}

export interface Flagged {
  /** Does not wait. */
  add(message: FlaggedMessage): void
  /**
   * The newest first.
   * @param before an id; those below it @throws AppError `unavailable`
   */
  list(before: string | undefined, limit: number): Promise<FlaggedMessage[]>
  /** Resolves when all that was added is written or given up. */
  idle(): Promise<void>
}

/** @param onLost told how many could not be written */
export function createFlagged(redis: Redis, keys: Keys, log: Logger, onLost: (count: number) => void): Flagged {
  const key = keys.flagged()
  let waiting: FlaggedMessage[] = []
  let writing: Promise<void> | undefined

  const lost = (count: number, reason: string): void => {
    onLost(count)
    log.warn({ count, reason }, 'flagged messages are not in the list of those')
  }

  async function writeAll(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      try {
        if (redis.status !== 'ready') throw new Error('Redis is away')
        // Of one score, so that they are ordered by their texts.
        await redis.zadd(key, ...batch.flatMap((one) => ['0', memberOf(one)]))
        await redis.zremrangebyrank(key, 0, -MAX_KEPT - 1)
      } catch (error) {
        lost(batch.length, (error as Error).message)
      }
    }
    writing = undefined
  }

  return {
    add(message) {
      if (waiting.length >= MAX_WAITING) return lost(1, 'too many wait to be written')
      waiting.push(message)
      writing ??= Promise.resolve().then(writeAll)
    },
    async list(before, limit) {
      const max = before === undefined ? '+' : `(${before.padStart(ID_DIGITS, '0')}`
      try {
        const found = await redis.zrevrangebylex(key, max, '-', 'LIMIT', 0, limit)
        return found.map((member) => JSON.parse(member.slice(ID_DIGITS + 1)) as FlaggedMessage)
      } catch (error) {
        throw redisAway(error)
      }
    },
    idle: () => writing ?? Promise.resolve(),
  }
}

const memberOf = (message: FlaggedMessage): string =>
  `${message.id.padStart(ID_DIGITS, '0')} ${JSON.stringify(message)}`
