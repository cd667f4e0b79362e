/** Connections to Redis, one kind per use, with the options that keep a lost reply from becoming a second entry. */
import { AppError } from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import { Redis, type RedisOptions, ReplyError } from 'ioredis'

export type { Redis } from 'ioredis'

/** How long one XREADGROUP waits for something new. */
export const BLOCK_MS = 1_000

const reconnectMs = (attempt: number): number => Math.min(50 * 2 ** Math.min(attempt, 5), 1_000)

// RESP2: under RESP3 the client spends more on decoding maps than on the entries themselves.
const COMMON: RedisOptions = { protocol: 2, connectTimeout: 1_000, retryStrategy: reconnectMs, enableReadyCheck: true }

/** Nothing is queued while Redis is away and nothing is sent twice: a command fails at once, or its outcome is unknown. */
const COMMAND: RedisOptions = {
  ...COMMON,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  commandTimeout: 1_000,
}

/** For XREADGROUP BLOCK alone: a reply that does not come ends the call, so that the loop turns. */
const READER: RedisOptions = {
  ...COMMON,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  commandTimeout: BLOCK_MS + 2_000,
}

/**
 * A connection that is kept up by itself. Commands fail at once while it is down.
 * @param use `command` for everything quick, `reader` for one blocking read at a time
 */
export async function connectRedis(url: string, use: 'command' | 'reader', log: Logger): Promise<Redis> {
  const redis = new Redis(url, { ...(use === 'reader' ? READER : COMMAND), lazyConnect: true })
  let lastLogged = 0
  redis.on('error', (error: Error) => {
    const now = performance.now()
    if (now - lastLogged < 5_000) return
    lastLogged = now
    log.warn({ err: error.message }, 'redis connection')
  })
  await redis.connect()
  return redis
}

/** Did Redis itself answer with an error? Otherwise the outcome of the command is unknown or it was never sent. */
export const isReply = (error: unknown): error is Error => error instanceof ReplyError

/** A failure of Redis in a read or an idempotent write, as the caller sees it. */
export const redisAway = (cause: unknown): AppError =>
  new AppError('unavailable', 'The message store does not answer now. Try again shortly.', { cause, retryAfter: 1 })

/** The commands that `issue` gives in this turn leave in one write instead of one each. */
export function together(redis: Redis, issue: () => void): void {
  const { stream } = redis
  stream?.cork()
  try {
    issue()
  } finally {
    stream?.uncork()
  }
}
