/**
 * Re-checking heads: what changed according to the partitions' `recent` indexes, compared with where this node's sessions stand. A push
 * is only a hint; what it missed, even a last entry with nothing behind it, is found here.
 */
import { AppError } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import { type Keys, type LogReader, loadScript, type Redis, redisAway, scriptFile } from '@tidings/stream'
import type { CatchUp } from './catch-up.js'
import { Marks, OVERLAP_MS } from './marks.js'
import type { Sessions } from './sessions.js'

const recent = loadScript(scriptFile('recent.lua', import.meta.url))

const EVERY_MS = 30_000
const RETRY_MS = 1_000
const UNLISTED_EVERY_MS = 1_000
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
  const marks = new Marks(keys.partitions, performance.now())
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
      soon(EVERY_MS)
    } catch (error) {
      if (!(error instanceof AppError)) log.error({ err: error }, 'sweeping the heads failed')
      soon(RETRY_MS)
    } finally {
      running = false
    }
  }

  /** Each partition by itself: on a cluster a shard that is away holds up its own conversations only. */
  async function sweep(): Promise<void> {
    const partitions = Array.from({ length: keys.partitions }, (_, partition) => partition)
    const swept = await Promise.allSettled(partitions.map(sweepPartition))
    marks.done()
    const failed = swept.find((one) => one.status === 'rejected')
    if (failed) throw failed.reason
  }

  async function sweepPartition(partition: number): Promise<void> {
    const asked = performance.now()
    const { now, changed } = await readChanged(partition, asked)
    const here = changed.filter(isHere)
    for (let i = 0; i < here.length; i += HEADS_PER_CALL) {
      const part = here.slice(i, i + HEADS_PER_CALL)
      const heads = await reader.heads(part)
      for (const [j, conversation] of part.entries()) raise(conversation, heads[j]!)
    }
    marks.looked(partition, now, asked)
  }

  async function readChanged(partition: number, asked: number): Promise<{ now: number; changed: string[] }> {
    const { redisMs, elapsedMs } = marks.since(partition, asked)
    try {
      const args = [redisMs ?? '', Math.ceil(elapsedMs), OVERLAP_MS]
      const [now, changed] = (await recent.run(redis, [keys.recent(partition)], args)) as [string, string[]]
      return { now: Number(now), changed }
    } catch (error) {
      throw redisAway(error)
    }
  }

  function isHere(conversation: string): boolean {
    for (const _ of sessions.concerned(conversation)) return true
    return false
  }

  function raise(conversation: string, head: number): void {
    for (const session of sessions.concerned(conversation)) {
      if (session.reaches(conversation, head)) catchUp.repairSoon(session, conversation)
    }
  }

  const unlistedTimer = setInterval(() => {
    if (deps.unlisted()) soon(0)
  }, UNLISTED_EVERY_MS)
  // The first look only learns Redis' time.
  soon(0)
  return {
    soon,
    async stop() {
      stopped = true
      clearTimeout(timer)
      clearInterval(unlistedTimer)
    },
  }
}
