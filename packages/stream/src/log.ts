/** A conversation's log in Redis: its newest entries by seq, and its head. Read only; append.ts writes it. */
import type { Entry } from '@tidings/protocol'
import { decodeLogged, PoisonError } from './entry.js'
import type { Keys } from './keys.js'
import { type Redis, redisAway, together } from './redis.js'

type Row = [id: string, fields: string[]]

const decodeRow = (conversation: string, [id, fields]: Row): Entry => decodeLogged(conversation, id, fields)

function decodeReadable(conversation: string, row: Row): Entry[] {
  try {
    return [decodeRow(conversation, row)]
  } catch (error) {
    if (error instanceof PoisonError) return []
    throw error
  }
}

export interface LogReader {
  /** Entries with `after < seq <= upTo`, ascending, at most `limit`. @throws AppError `unavailable` */
  after(conversation: string, after: number, limit: number, upTo?: number): Promise<Entry[]>
  /**
   * As `after`, without what cannot be read: somebody wrote it by hand.
   * @returns the entries, and up to where the log holds no other
   * @throws AppError `unavailable`
   */
  readable(
    conversation: string,
    after: number,
    limit: number,
    upTo: number,
  ): Promise<{ entries: Entry[]; upTo: number }>
  /** Entries with `seq < before`, the newest `limit` of them, ascending. @throws AppError `unavailable` */
  before(conversation: string, before: number, limit: number): Promise<Entry[]>
  /** The head of each conversation, 0 where Redis knows none. One round trip. @throws AppError `unavailable` */
  heads(conversations: readonly string[]): Promise<number[]>
  /** The newest entry of each conversation, undefined where the log is empty. One round trip. @throws AppError `unavailable` */
  newest(conversations: readonly string[]): Promise<(Entry | undefined)[]>
}

export function createLogReader(redis: Redis, keys: Keys): LogReader {
  return {
    async after(conversation, after, limit, upTo) {
      const end = upTo === undefined ? '+' : `${upTo}-0`
      const rows = await orAway(redis.xrange(keys.log(conversation), `${after + 1}-0`, end, 'COUNT', limit))
      return rows.map((row) => decodeRow(conversation, row))
    },
    async readable(conversation, after, limit, upTo) {
      const rows = await orAway(redis.xrange(keys.log(conversation), `${after + 1}-0`, `${upTo}-0`, 'COUNT', limit))
      const last = rows.length < limit ? upTo : Number(rows.at(-1)![0].split('-')[0])
      return { entries: rows.flatMap((row) => decodeReadable(conversation, row)), upTo: last }
    },
    async before(conversation, before, limit) {
      if (before <= 1) return []
      const rows = await orAway(redis.xrevrange(keys.log(conversation), `${before - 1}-0`, '-', 'COUNT', limit))
      return rows.reverse().map((row) => decodeRow(conversation, row))
    },
    async heads(conversations) {
      const heads = await orAway(
        together(redis, () => Promise.all(conversations.map((conversation) => redis.get(keys.seq(conversation))))),
      )
      return heads.map((head) => Number(head ?? 0))
    },
    async newest(conversations) {
      const newest = await orAway(
        together(redis, () =>
          Promise.all(conversations.map((each) => redis.xrevrange(keys.log(each), '+', '-', 'COUNT', 1))),
        ),
      )
      return newest.map(([row], i) => row && decodeRow(conversations[i]!, row))
    },
  }
}

/** The first failure fails them all, for half an answer would read as "nothing there". */
async function orAway<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply
  } catch (error) {
    throw redisAway(error)
  }
}
