/**
 * What was ended before its time: sessions before their tokens, users and permits before what is kept of them. Logic writes it to
 * Redis; every process that keeps something of them follows it.
 */
import { parseRevoked } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import type { Keys } from './keys.js'
import { type Redis, redisAway } from './redis.js'

const POLL_MS = 1_000
/** Read again what is this much older than the newest seen: after a failover another server's clock counts. */
const OVERLAP_MS = 10_000

export interface RevocationWatch extends Stoppable {
  has(sessionId: string): boolean
  /** Resolves when all that was told before the call has been heard. @throws AppError `unavailable` when Redis does not answer */
  hear(): Promise<void>
  /** Called for each session as it becomes known to be revoked. */
  onRevoked(tell: (sessionId: string) => void): void
  /** Called with users who may not act any more: what is kept of them is wrong. Before their sessions are told. */
  onUsers(tell: (users: ReadonlySet<string>) => void): void
  /** Called for each user who may not write to another one any more: a permit that is kept is wrong. */
  onSends(tell: (from: string, to: string) => void): void
}

/**
 * Polls the set of what is revoked. While Redis is away the copy stays as it is.
 * @param keepMs how long a revoked session must be remembered: the life of an access token
 */
export async function watchRevocations(options: {
  redis: Redis
  keys: Keys
  keepMs: number
  log: Logger
}): Promise<RevocationWatch> {
  const { redis, keys, keepMs, log } = options
  /** Word to the time when it was told; one that is told again has another. */
  const revoked = new Map<string, number>()
  const sessionListeners: ((sessionId: string) => void)[] = []
  const userListeners: ((users: ReadonlySet<string>) => void)[] = []
  const sendListeners: ((from: string, to: string) => void)[] = []
  let newest = 0

  async function poll(): Promise<void> {
    const reply = await redis.zrange(keys.revoked(), Math.max(0, newest - OVERLAP_MS), '+inf', 'BYSCORE', 'WITHSCORES')
    const sessions: string[] = []
    const users = new Set<string>()
    for (let i = 0; i + 1 < reply.length; i += 2) {
      const word = reply[i]!
      const at = Number(reply[i + 1])
      newest = Math.max(newest, at)
      if (revoked.get(word) === at) continue
      const said = parseRevoked(word)
      if (said?.kind === 'session' && !revoked.has(word)) sessions.push(said.session)
      if (said?.kind === 'user') users.add(said.user)
      if (said?.kind === 'sends') for (const tell of sendListeners) tell(said.from, said.to)
      revoked.set(word, at)
    }
    if (users.size > 0) for (const tell of userListeners) tell(users)
    for (const session of sessions) for (const tell of sessionListeners) tell(session)
    // What is read again must stay known, or it would be told with every poll.
    const forgotten = Math.min(Date.now() - keepMs - 2 * OVERLAP_MS, newest - OVERLAP_MS)
    for (const [word, at] of revoked) if (at < forgotten) revoked.delete(word)
  }

  let running: Promise<void> | undefined
  let next: Promise<void> | undefined

  /** One poll at a time; those who ask while one runs share the one after it. */
  function pollAnew(): Promise<void> {
    if (running) {
      next ??= running
        .catch(() => undefined)
        .then(() => {
          next = undefined
          return pollAnew()
        })
      return next
    }
    running = poll().finally(() => {
      running = undefined
    })
    return running
  }

  await pollAnew()
  const timer = setInterval(() => {
    if (running || redis.status !== 'ready') return
    pollAnew().catch((error: unknown) => log.debug({ err: error }, 'reading revocations failed; it is tried again'))
  }, POLL_MS)
  return {
    has: (sessionId) => revoked.has(sessionId),
    async hear() {
      try {
        await pollAnew()
      } catch (cause) {
        throw redisAway(cause)
      }
    },
    onRevoked: (tell) => sessionListeners.push(tell),
    onUsers: (tell) => userListeners.push(tell),
    onSends: (tell) => sendListeners.push(tell),
    async stop() {
      clearInterval(timer)
    },
  }
}
