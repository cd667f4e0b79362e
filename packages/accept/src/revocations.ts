/** Sessions that were ended before their tokens. Logic writes them to Redis; every edge process keeps a copy. */
import type { Logger, Stoppable } from '@tidings/service'
import type { Keys, Redis } from '@tidings/stream'

const POLL_MS = 1_000
/** Read again what is this much older than the newest seen: after a failover another server's clock counts. */
const OVERLAP_MS = 10_000

export interface Revocations extends Stoppable {
  has(sessionId: string): boolean
  /** Called for each session as it becomes known to be revoked. */
  onRevoked(tell: (sessionId: string) => void): void
}

/**
 * Polls the set of revoked sessions. While Redis is away the copy stays as it is.
 * @param keepMs how long a revoked session must be remembered: the life of an access token
 */
export async function watchRevocations(options: {
  redis: Redis
  keys: Keys
  keepMs: number
  log: Logger
}): Promise<Revocations> {
  const { redis, keys, keepMs, log } = options
  const revoked = new Map<string, number>()
  const listeners: ((sessionId: string) => void)[] = []
  let newest = 0

  async function poll(): Promise<void> {
    const reply = await redis.zrange(keys.revoked(), Math.max(0, newest - OVERLAP_MS), '+inf', 'BYSCORE', 'WITHSCORES')
    for (let i = 0; i + 1 < reply.length; i += 2) {
      const sessionId = reply[i]!
      const at = Number(reply[i + 1])
      newest = Math.max(newest, at)
      if (revoked.has(sessionId)) continue
      revoked.set(sessionId, at)
      for (const tell of listeners) tell(sessionId)
    }
    const forgotten = Date.now() - keepMs - 2 * OVERLAP_MS
    for (const [sessionId, at] of revoked) if (at < forgotten) revoked.delete(sessionId)
  }

  await poll()
  let polling = false
  const timer = setInterval(() => {
    if (polling || redis.status !== 'ready') return
    polling = true
    poll()
      .catch((error: unknown) => log.debug({ err: error }, 'reading revoked sessions failed; it is tried again'))
      .finally(() => {
        polling = false
      })
  }, POLL_MS)
  return {
    has: (sessionId) => revoked.has(sessionId),
    onRevoked: (tell) => listeners.push(tell),
    async stop() {
      clearInterval(timer)
    },
  }
}
