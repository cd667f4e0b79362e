/** Users of an outside identity provider, or minted by a team's backend: each gets a row when a process first sees it. */
import { AppError } from '@tidings/protocol'
import { LRUCache } from 'lru-cache'
import type { Identity } from './types.js'

const MAX_KEPT = 50_000
const FRESH_MS = 300_000

/** Of an identity what is looked at; a user by name alone is one whom we gave no session. */
export type Seen = Pick<Identity, 'user'> & Partial<Pick<Identity, 'sessionId' | 'scopes'>>

export interface SeenUsers {
  /**
   * Undefined when the user is known; else settles when logic has answered. The users of our own sessions exist, and service tokens
   * are no users. @throws AppError `user_disabled`, `unavailable`
   */
  check(seen: Seen): undefined | Promise<void>
  /** What is kept of these users is wrong: they are asked for again, also where an answer is on its way. */
  forget(users: ReadonlySet<string>): void
}

/** A user who was known goes on being known while logic is away. */
export function createSeenUsers(
  seeUser: (user: string) => Promise<unknown>,
  now: () => number = () => performance.now(),
): SeenUsers {
  const freshUntil = new LRUCache<string, number>({ max: MAX_KEPT })
  const asking = new Map<string, Promise<void>>()

  /** Users who were told of while logic was asked: its answer may be older than what was told. */
  const outdated = new Set<string>()

  async function ask(user: string): Promise<void> {
    try {
      do {
        outdated.delete(user)
        await seeUser(user)
      } while (outdated.has(user))
      freshUntil.set(user, now() + FRESH_MS)
    } catch (error) {
      const away = error instanceof AppError && error.code === 'unavailable'
      if (away && freshUntil.has(user)) return
      freshUntil.delete(user)
      throw error
    } finally {
      asking.delete(user)
      outdated.delete(user)
    }
  }

  return {
    check({ user, sessionId, scopes }) {
      if (scopes || sessionId !== undefined) return undefined
      const until = freshUntil.get(user)
      if (until !== undefined && now() < until) return undefined
      let asked = asking.get(user)
      if (!asked) {
        asked = ask(user)
        asking.set(user, asked)
      }
      return asked
    },
    forget(users) {
      for (const user of users) {
        freshUntil.delete(user)
        if (asking.has(user)) outdated.add(user)
      }
    },
  }
}
