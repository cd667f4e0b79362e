/**
 * A conversation's log in Redis: its newest entries by seq, and its head. Read only; append.ts writes it. Entries are as readers see them:
 * what later entries have made of them is looked up behind the page itself, so it is at least as new.
 */
import type { Entry } from '@tidings/protocol'
import { decodeLogged, PoisonError } from './entry.js'
import { foldAll, foldStored, foldsAmong } from './folds.js'
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
   * As `after`, but as they were appended, and without what cannot be read: somebody wrote it by hand.
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
  /** Entries of one conversation from MySQL as they are by now: `foldStored`. @throws AppError `unavailable` */
  foldStored(entries: readonly Entry[]): Promise<Entry[]>
  /** The head of each conversation, 0 where Redis knows none. One round trip. @throws AppError `unavailable` */
  heads(conversations: readonly string[]): Promise<number[]>
  /** The newest entry of each conversation, undefined where the log is empty. One round trip. @throws AppError `unavailable` */
  newest(conversations: readonly string[]): Promise<(Entry | undefined)[]>
}

export function createLogReader(redis: Redis, keys: Keys): LogReader {
  /** A page and, in the same round trip, whether there is anything to fold at all. */
  async function page(conversation: string, read: () => Promise<Row[]>): Promise<Entry[]> {
    const [rows, changed] = await together(redis, () => Promise.all([read(), redis.exists(keys.fold(conversation))]))
    const entries = rows.map((row) => decodeRow(conversation, row))
    return changed === 0 ? entries : foldAll(redis, keys, entries)
  }

  async function readNewest(conversations: readonly string[]): Promise<(Entry | undefined)[]> {
    const [newest, changed] = await together(redis, () =>
      Promise.all([
        Promise.all(conversations.map((each) => redis.xrevrange(keys.log(each), '+', '-', 'COUNT', 1))),
        foldsAmong(redis, keys, conversations),
      ]),
    )
    const entries = newest.map(([row], i) => row && decodeRow(conversations[i]!, row))
    if (changed.size === 0) return entries
    return together(redis, () =>
      Promise.all(
        entries.map(async (entry) =>
          entry && changed.has(entry.conversation) ? (await foldAll(redis, keys, [entry]))[0] : entry,
        ),
      ),
    )
  }

  return {
    after(conversation, after, limit, upTo) {
      const end = upTo === undefined ? '+' : `${upTo}-0`
      return orAway(
        page(conversation, () => redis.xrange(keys.log(conversation), `${after + 1}-0`, end, 'COUNT', limit)),
      )
    },
    async readable(conversation, after, limit, upTo) {
      const rows = await orAway(redis.xrange(keys.log(conversation), `${after + 1}-0`, `${upTo}-0`, 'COUNT', limit))
      const last = rows.length < limit ? upTo : Number(rows.at(-1)![0].split('-')[0])
      return { entries: rows.flatMap((row) => decodeReadable(conversation, row)), upTo: last }
    },
    async before(conversation, before, limit) {
      if (before <= 1) return []
      const entries = await orAway(
        page(conversation, () => redis.xrevrange(keys.log(conversation), `${before - 1}-0`, '-', 'COUNT', limit)),
      )
      return entries.reverse()
    },
    foldStored: (entries) => foldStored(redis, keys, entries),
    async heads(conversations) {
      const heads = await orAway(
        together(redis, () => Promise.all(conversations.map((conversation) => redis.get(keys.seq(conversation))))),
      )
      return heads.map((head) => Number(head ?? 0))
    },
    async newest(conversations) {
      return orAway(readNewest(conversations))
    },
  }
}

/** The first failure fails them all, for half an answer would read as "nothing there". */
async function orAway<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply
  } catch (error) {
    if (error instanceof PoisonError) throw error
    throw redisAway(error)
  }
}
