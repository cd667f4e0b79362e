/**
 * The way of a change of a room from MySQL, where it is committed, into the room's log. Row by row in their order, and a row again and
 * again until its entry is in the log: its clientId makes a repetition a duplicate. Several processes may do it at once for one room:
 * each goes in the order of the rows, so a newer entry never comes before an older one.
 */
import { firstIdAt, parseConversation, type RoomEvent } from '@tidings/protocol'
import type { RoomNotices } from '@tidings/registry'
import type { Logger } from '@tidings/service'
import {
  findMember,
  findStored,
  isStoredAt,
  markAppended,
  type OutboxRow,
  outboxAppended,
  outboxNewest,
  outboxPending,
  type Store,
} from '@tidings/store'
import {
  type Appender,
  type Keys,
  type LogReader,
  type MemberChange,
  parseGeneration,
  type Redis,
} from '@tidings/stream'
import { orAway } from './replies.js'

/** A row older than this may have been appended by a process that died. */
const FRESH_MS = 2_000
/** Clocks of our processes differ by less. */
const SKEW_MS = 60_000

export interface OutboxDeps {
  redis: Redis
  keys: Keys
  store: Store
  reader: LogReader
  /** One that puts back ended rooms too, so that the entry of their end can be appended. */
  appender: Pick<Appender, 'append'>
  nextId: () => string
  notices: Pick<RoomNotices, 'put'>
  /** Ended rooms too. */
  restoreMembers(conversation: string): Promise<void>
  log: Logger
}

export interface Outbox {
  /**
   * Resolves when every change of the conversation that was committed before is in its log.
   * @throws AppError `unavailable`, `overloaded`, `outcome_unknown`: what is not in the log waits
   */
  drain(conversation: string): Promise<void>
}

export function createOutbox(deps: OutboxDeps): Outbox {
  const { redis, keys, store, reader, log } = deps
  const running = new Map<string, Promise<void>>()
  const next = new Map<string, Promise<void>>()

  /** One run at a time per conversation; whoever asks meanwhile gets one that begins after it. */
  function drain(conversation: string): Promise<void> {
    const now = running.get(conversation)
    if (!now) return start(conversation)
    let then = next.get(conversation)
    if (!then) {
      const begin = (): Promise<void> => {
        next.delete(conversation)
        return start(conversation)
      }
      then = now.then(begin, begin)
      next.set(conversation, then)
    }
    return then
  }

  function start(conversation: string): Promise<void> {
    const run = drainOnce(conversation).finally(() => running.delete(conversation))
    running.set(conversation, run)
    return run
  }

  async function drainOnce(conversation: string): Promise<void> {
    await appendLost(conversation)
    for (;;) {
      const rows = await outboxPending(store, conversation)
      if (rows.length === 0) return
      for (const row of rows) await appendFirst(row)
    }
  }

  /** What Redis has forgotten before it was stored comes again, and before anything that is newer. */
  async function appendLost(conversation: string): Promise<void> {
    const newest = await outboxNewest(store, conversation)
    // Redis forgets the ends of logs: with the newest there, all are.
    if (!newest || (await arrived(newest))) return
    for (let after = 0; ; ) {
      const rows = await outboxAppended(store, conversation, after)
      if (rows.length === 0) return
      for (const row of rows) if (!(await arrived(row))) await appendAgain(row)
      after = rows.at(-1)!.id
    }
  }

  /** The log first, MySQL second: what is trimmed from the log in between is in MySQL by then. */
  async function arrived(row: OutboxRow): Promise<boolean> {
    const [entry] = await reader.after(row.conversation, row.seq! - 1, 1, row.seq!)
    if (entry?.clientId === row.clientId && entry.from === row.from) return true
    return isStoredAt(store, row, row.seq!)
  }

  async function appendFirst(row: OutboxRow): Promise<void> {
    const change = JSON.parse(row.change) as MemberChange
    const joined = change.joined.map(({ user }) => user)
    // Before the entry: whoever catches up and is in the room must find it.
    await orAway(Promise.all(joined.map((user) => redis.sadd(keys.conversations(user), row.conversation))))
    const { seq, sure } = await placeOf(row, change)
    await markAppended(store, row, seq, joined)
    if (joined.length > 0 && !(await sure())) await confirmJoined(row.conversation, joined)
    tell(row, change)
    await unlist(row, change.left)
  }

  /** @returns where the entry lies, and whether Redis surely knows who joined by it */
  async function placeOf(row: OutboxRow, change: MemberChange): Promise<{ seq: number; sure: () => Promise<boolean> }> {
    const made = row.createdAt.getTime()
    if (Date.now() - made > FRESH_MS) {
      const stored = await findStored(store, row, firstIdAt(made - SKEW_MS))
      if (stored !== undefined) return { seq: stored, sure: async () => false }
    }
    const { seq, generation, duplicate } = await append(row, change)
    const sure = async (): Promise<boolean> => !duplicate && (await generationOf(row.conversation)) === generation
    return { seq, sure }
  }

  async function generationOf(conversation: string): Promise<number | undefined> {
    const record = await orAway(redis.get(keys.generation(keys.partitionOf(conversation))))
    return parseGeneration(record ?? '')?.number
  }

  const append = (row: OutboxRow, members: MemberChange) =>
    deps.appender.append({
      id: deps.nextId(),
      conversation: row.conversation,
      from: row.from,
      type: row.type,
      content: row.content,
      clientId: row.clientId,
      sentAt: Date.now(),
      trace: '',
      members,
    })

  /** Who is in the room was put back from MySQL since, as it was after this change: those who joined keep their place. */
  async function appendAgain(row: OutboxRow): Promise<void> {
    const change = JSON.parse(row.change) as MemberChange
    const { seq } = await append(row, { ...change, joined: [], muted: [], left: [] })
    log.warn(
      { conversation: row.conversation, from: row.seq, to: seq },
      'a change of a room was forgotten, and came again',
    )
    await markAppended(store, row, seq, [])
  }

  /**
   * Who is in the room was perhaps put back after the entry was appended and before MySQL knew its seq: then these would wait for their
   * entry for ever. What is put back from now on is right.
   */
  async function confirmJoined(conversation: string, joined: readonly string[]): Promise<void> {
    await deps.restoreMembers(conversation)
    const key = keys.members(conversation)
    const places = await orAway(redis.hmget(key, ...joined))
    if (places.some((place) => place?.startsWith('0:'))) await orAway(redis.hdel(key, '*'))
  }

  function tell({ conversation, content }: OutboxRow, { version, ended }: MemberChange): void {
    const room = parseConversation(conversation)
    if (room?.kind !== 'room') return
    const { joined = [], left = [] } = JSON.parse(content) as RoomEvent
    void deps.notices.put(room.room, { version, joined, left, ...(ended && { ended }) })
  }

  /** A failure leaves a name too many in an index: who is in the room is asked wherever it is read. */
  async function unlist({ conversation }: OutboxRow, left: readonly string[]): Promise<void> {
    const room = parseConversation(conversation)
    if (room?.kind !== 'room') return
    try {
      for (const user of left) {
        await redis.srem(keys.conversations(user), conversation)
        // Somebody who is back already was perhaps listed just before.
        if (await findMember(store, room.room, user)) await redis.sadd(keys.conversations(user), conversation)
      }
    } catch (error) {
      log.debug({ err: error, conversation }, 'somebody who left a room is still listed there')
    }
  }

  return { drain }
}
