/**
 * Tells all nodes when a user's first session here began or the last one ended: once, when that has stood for a while. It is told also where
 * all is as it was before: somebody may have asked in between.
 */
import type { PresenceEvent } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import type { Sessions } from './sessions.js'

/** A connection that comes and goes changes nothing: what is told is what stays. */
const CALM_MS = 2_000
/** Where many come and go, what is due within this time is told together. */
const GATHER_MS = 250

export interface Presence extends Stoppable {
  /** A session of the user was added. */
  began(user: string): void
  /** A session of the user was taken off. */
  ended(user: string): void
}

interface Change {
  /** Milliseconds since 1970. */
  at: number
  /** performance.now() when it has stood for long enough. */
  due: number
}

/** @param save when users were here last */
export function createPresence(deps: {
  sessions: Pick<Sessions, 'of'>
  publish(event: PresenceEvent): void
  save(seen: ReadonlyMap<string, number>): Promise<void>
  calmMs?: number
  log: Logger
}): Presence {
  const { sessions, publish, save, calmMs = CALM_MS, log } = deps
  const gatherMs = Math.min(GATHER_MS, calmMs)
  /** By user, in the order in which they are due. */
  const changing = new Map<string, Change>()
  let timer: NodeJS.Timeout | undefined

  function changed(user: string): void {
    changing.delete(user)
    changing.set(user, { at: Date.now(), due: performance.now() + calmMs })
    timer ??= setTimeout(settle, calmMs)
  }

  function settle(): void {
    timer = undefined
    const now = performance.now()
    const seen = new Map<string, number>()
    for (const [user, { at, due }] of changing) {
      if (due > now) {
        timer = setTimeout(settle, Math.max(due - now, gatherMs))
        break
      }
      changing.delete(user)
      // Also of those who came: a node that dies has no time to say when they were last here.
      seen.set(user, at)
      publish({ op: 'presence', user, online: sessions.of(user).length > 0 })
    }
    void keep(seen)
  }

  async function keep(seen: ReadonlyMap<string, number>): Promise<void> {
    if (seen.size === 0) return
    try {
      await save(seen)
    } catch (error) {
      log.debug({ err: error, users: seen.size }, 'when users were last here is not written')
    }
  }

  return {
    began(user) {
      if (sessions.of(user).length === 1) changed(user)
    },
    ended(user) {
      if (sessions.of(user).length === 0) changed(user)
    },
    /** Who was still waited for is written at once. The other nodes see that this one is gone, and look who else is. */
    async stop() {
      clearTimeout(timer)
      const left = new Map([...changing].map(([user, { at }]) => [user, at]))
      changing.clear()
      await keep(left)
    },
  }
}
