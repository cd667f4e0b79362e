/**
 * Backpressure: what is accepted lies in Redis until persist has stored it, so accepting stops before Redis is full or the backlog is
 * longer than was planned for. First what comes in bulk is refused, then every send. Never refused: acks, reads, catching up.
 */
import { AppError } from '@tidings/protocol'
import {
  gauge,
  jitterSeconds,
  type Logger,
  type MetricsRegistry,
  parseInfo,
  pause,
  type Stoppable,
} from '@tidings/service'
import { serversOf } from './cluster.js'
import { redisFull } from './full.js'
import type { Keys } from './keys.js'
import { readBacklog } from './lag.js'
import type { Redis } from './redis.js'

const POLL_MS = 1_000

/** What is accepted: 0 everything, 1 single messages, 2 nothing. */
export type Level = 0 | 1 | 2

/** Shares of a bound from which a level holds, and below which it ends: apart, so that it does not flap at the edge. */
interface Threshold {
  from: number
  until: number
}
type Thresholds = readonly [bulk: Threshold, all: Threshold]

const MEMORY: Thresholds = [
  { from: 0.75, until: 0.7 },
  { from: 0.85, until: 0.8 },
]
const BACKLOG: Thresholds = [
  { from: 0.5, until: 0.4 },
  { from: 1, until: 0.9 },
]

/** @param fill share of the bound that is used */
export function nextLevel(now: Level, fill: number, [bulk, all]: Thresholds): Level {
  if (fill >= (now === 2 ? all.until : all.from)) return 2
  return fill >= (now >= 1 ? bulk.until : bulk.from) ? 1 : 0
}

export interface Pressure extends Stoppable {
  /**
   * To be asked before anything of a send is written.
   * @param bulk one of many: a batch, a push to many
   * @throws AppError `overloaded` with a jittered retryAfter
   */
  admit(bulk: boolean): void
  /** Looks now, beside its regular looks. @throws when Redis does not answer */
  look(): Promise<void>
}

export interface PressureOptions {
  redis: Redis
  keys: Keys
  /** Entries that persist may be behind, over all partitions, before every send is refused. */
  maxBacklog: number
  /** Bytes that Redis may use, for a Redis without a maxmemory of its own; 0: there is no such bound. */
  memoryBytes: number
  metrics: MetricsRegistry
  log: Logger
}

/**
 * Looks once a second. While Redis is away the last answer stands: appends fail by themselves then.
 * Between two looks the backlog can grow by a second's worth of messages.
 */
export async function watchPressure(options: PressureOptions): Promise<Pressure> {
  const { redis, keys, maxBacklog, memoryBytes, metrics, log } = options
  const stopper = new AbortController()
  let memory: Level = 0
  let backlog: Level = 0
  let entries = 0
  let fill = 0

  function fillOf(info: string): number {
    const found = parseInfo(info)
    const max = Number(found.get('maxmemory')) || memoryBytes
    return max > 0 ? Number(found.get('used_memory')) / max : 0
  }

  async function look(): Promise<void> {
    const [infos, behind] = await Promise.all([
      Promise.all(serversOf(redis).map((server) => server.info('memory'))),
      readBacklog(redis, keys),
    ])
    // On a cluster the fullest shard counts: a conversation cannot go to another one.
    fill = Math.max(0, ...infos.map(fillOf))
    entries = behind
    const before = Math.max(memory, backlog)
    memory = nextLevel(memory, fill, MEMORY)
    backlog = nextLevel(backlog, entries / maxBacklog, BACKLOG)
    const after = Math.max(memory, backlog)
    if (after === before) return
    const words = ['everything is accepted again', 'batches and pushes are refused', 'sends are refused'] as const
    log.warn({ backlog: entries, maxBacklog, memoryPercent: Math.round(fill * 100) }, words[after as Level])
  }

  async function watch(): Promise<void> {
    while (!stopper.signal.aborted) {
      await pause(POLL_MS, stopper.signal)
      if (stopper.signal.aborted) return
      await look().catch((error: unknown) => log.debug({ err: error }, 'looking at the backlog; it is tried again'))
    }
  }

  gauge(metrics, 'tidings_pressure', 'What is refused: 0 nothing, 1 batches and pushes, 2 every send.', () =>
    Math.max(memory, backlog),
  )
  gauge(metrics, 'tidings_backlog_entries', 'Entries that MySQL does not have yet, over all partitions.', () => entries)
  gauge(metrics, 'tidings_redis_memory_fill', 'Share of its memory that Redis uses; 0 without a bound.', () => fill)
  await look()
  const watching = watch()
  return {
    look,
    admit(bulk) {
      const refused: Level = bulk ? 1 : 2
      if (memory >= refused) throw redisFull()
      if (backlog >= refused) {
        throw new AppError('overloaded', 'Too much waits to be stored; nothing was accepted. Try again shortly.', {
          retryAfter: jitterSeconds(1, 5),
        })
      }
    },
    async stop() {
      stopper.abort()
      await watching
    },
  }
}
