/** Whom a server may push to: who exists. Logic is asked once for all of a push that are not known yet. */
import { AppError } from '@tidings/protocol'
import { LRUCache } from 'lru-cache'

const MAX_KEPT = 100_000
const FRESH_MS = 600_000
/** Users in one question. */
const CHUNK = 10_000

export interface KnownUsers {
  /**
   * @returns why each of those that cannot be pushed to cannot: there is no such user, or nobody can tell now. One who was known goes
   * on being known while logic is away.
   */
  refusals(users: readonly string[]): Promise<Map<string, AppError>>
  /** What is kept of these users may be wrong. */
  forget(users: ReadonlySet<string>): void
}

/** @param askMissing which of these users there are not */
export function createKnownUsers(
  askMissing: (users: string[]) => Promise<readonly string[]>,
  now: () => number = () => performance.now(),
): KnownUsers {
  const freshUntil = new LRUCache<string, number>({ max: MAX_KEPT })
  /** Rises when somebody is forgotten: an answer that was asked for before is older than the reason. */
  let forgotten = 0

  async function ask(users: string[]): Promise<Map<string, AppError>> {
    const before = forgotten
    try {
      const missing = new Set(await askMissing(users))
      const until = now() + FRESH_MS
      if (before === forgotten) for (const user of users) if (!missing.has(user)) freshUntil.set(user, until)
      for (const user of missing) freshUntil.delete(user)
      return new Map([...missing].map((user) => [user, new AppError('user_not_found', 'There is no such user.')]))
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'unavailable') throw error
      return new Map(users.flatMap((user) => (freshUntil.has(user) ? [] : [[user, error]])))
    }
  }

  return {
    async refusals(users) {
      const at = now()
      const unknown = users.filter((user) => !((freshUntil.get(user) ?? 0) > at))
      const refused = new Map<string, AppError>()
      for (let i = 0; i < unknown.length; i += CHUNK) {
        for (const [user, error] of await ask(unknown.slice(i, i + CHUNK))) refused.set(user, error)
      }
      return refused
    },
    forget(users) {
      forgotten++
      for (const user of users) freshUntil.delete(user)
    },
  }
}
