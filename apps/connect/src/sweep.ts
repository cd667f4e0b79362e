/**
 * Re-checking heads: what changed according to the partitions' `recent` indexes, compared with where this node's sessions stand. A push
 * is only a hint; what it missed, even a last entry with nothing behind it, is found here.
 */
import { AppError, parseConversation } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import { type Keys, type LogReader, type Redis, redisAway } from '@tidings/stream'
import type { CatchUp } from './catch-up.js'
import type { Sessions } from './sessions.js'

const EVERY_MS = 30_000
const RETRY_MS = 1_000
/** Conversations that changed shortly before the last look are looked at again: their append may have been under way. */
const OVERLAP_MS = 2_000
const HEADS_PER_CALL = 1_000

export interface Sweep extends Stoppable {
  /** Looks soon; several wishes become one look. */
  soon(delayMs: number): void
}

export function startSweep(deps: {
  redis: Redis
  keys: Keys
  reader: LogReader
  sessions: Sessions
  catchUp: Pick<CatchUp, 'repairSoon'>
  /** Are there sessions that nobody can push to? Then looking is all they have. */
  unlisted(): boolean
  log: Logger
}): Sweep {
  const { redis, keys, reader, sessions, catchUp, log } = deps
  /** Per partition, the score up to which all changes were looked at. */
  const marks = new Array<number>(keys.partitions).fill(Date.now() - 60_000)
  /** Per partition, the generation that the mark is of: scores are of one server's clock. */
  const generations = new Array<string | null | undefined>(keys.partitions).fill(undefined)
  let timer: NodeJS.Timeout
  let dueAt = 0
  let running = false
  let stopped = false

  function soon(delayMs: number): void {
    const at = performance.now() + delayMs
    if (stopped || (dueAt !== 0 && dueAt <= at)) return
    dueAt = at
    clearTimeout(timer)
    timer = setTimeout(() => void run(), delayMs)
  }

  async function run(): Promise<void> {
    dueAt = 0
    if (running) return soon(RETRY_MS)
    running = true
    try {
      await sweep()
      soon(deps.unlisted() ? RETRY_MS : EVERY_MS)
    } catch (error) {
      if (!(error instanceof AppError)) log.error({ err: error }, 'sweeping the heads failed')
      soon(RETRY_MS)
    } finally {
      running = false
    }
  }

  async function sweep(): Promise<void> {
    const changed: string[] = []
    const newest = [...marks]
    await Promise.all(
      marks.map(async (mark, partition) => {
        const generation = await readGeneration(partition)
        const known = generations[partition]
        // Another server, and perhaps another clock: everything in its index is looked at once.
        const since = known === undefined || known === generation ? mark - OVERLAP_MS : 0
        if (since === 0) newest[partition] = 0
        const rows = await readRecent(partition, since)
        generations[partition] = generation
        for (let i = 0; i + 1 < rows.length; i += 2) {
          newest[partition] = Math.max(newest[partition]!, Number(rows[i + 1]))
          if (isHere(rows[i]!)) changed.push(rows[i]!)
        }
      }),
    )
    for (let i = 0; i < changed.length; i += HEADS_PER_CALL) {
      const part = changed.slice(i, i + HEADS_PER_CALL)
      const heads = await reader.heads(part)
      for (const [j, conversation] of part.entries()) raise(conversation, heads[j]!)
    }
    for (const [partition, mark] of newest.entries()) marks[partition] = mark
  }

  async function readGeneration(partition: number): Promise<string | null> {
    try {
      return await redis.get(keys.generation(partition))
    } catch (error) {
      throw redisAway(error)
    }
  }

  async function readRecent(partition: number, after: number): Promise<string[]> {
    try {
      return await redis.zrange(keys.recent(partition), after, '+inf', 'BYSCORE', 'WITHSCORES')
    } catch (error) {
      throw redisAway(error)
    }
  }

  function usersOf(conversation: string): readonly string[] {
    const parsed = parseConversation(conversation)
    if (parsed?.kind === 'dm') return parsed.users[0] === parsed.users[1] ? [parsed.users[0]] : parsed.users
    return parsed?.kind === 'feed' ? [parsed.user] : []
  }

  const isHere = (conversation: string): boolean => usersOf(conversation).some((user) => sessions.has(user))

  function raise(conversation: string, head: number): void {
    for (const user of usersOf(conversation)) {
      for (const session of sessions.of(user)) {
        if (session.state === 'opening') session.hint(conversation, head)
        else if (session.state === 'open' && session.flow(conversation).raise(head)) {
          catchUp.repairSoon(session, conversation)
        }
      }
    }
  }

  soon(EVERY_MS)
  return {
    soon,
    async stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
