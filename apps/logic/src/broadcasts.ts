/**
 * `feed:*`, the conversation of all users: nobody is listed in it, so everybody is. What is kept per user is where it stood when the
 * account was made, for what was pushed before is not theirs.
 */
import { AppError, EVERYONE } from '@tidings/protocol'
import { feedStarts, type Store } from '@tidings/store'
import type { LogReader } from '@tidings/stream'

const MAX_KEPT = 100_000

export interface Broadcasts {
  /** The seq above which these users are shown `feed:*`. @throws AppError `unavailable` */
  startsOf(users: readonly string[]): Promise<Map<string, number>>
  /** @throws AppError `unavailable` */
  startOf(user: string): Promise<number>
  /** As `startOf`, where it is known without asking. */
  knownStartOf(user: string): number | undefined
  /** The head of `feed:*`, for a user who appears now; undefined when Redis does not know one, or does not answer. */
  head(): Promise<number | undefined>
}

export function createBroadcasts({ store, reader }: { store: Store; reader: LogReader }): Broadcasts {
  /** They never change. The oldest first. */
  const kept = new Map<string, number>()

  function keep(user: string, start: number): void {
    kept.set(user, start)
    const [oldest] = kept.keys()
    if (kept.size > MAX_KEPT && oldest !== undefined) kept.delete(oldest)
  }

  async function startsOf(users: readonly string[]): Promise<Map<string, number>> {
    const unknown = users.filter((user) => !kept.has(user))
    const found = await feedStarts(store, unknown)
    for (const [user, start] of found) keep(user, start)
    return new Map(users.map((user) => [user, found.get(user) ?? kept.get(user) ?? 0]))
  }

  return {
    startsOf,
    startOf: async (user) => kept.get(user) ?? (await startsOf([user])).get(user)!,
    knownStartOf: (user) => kept.get(user),
    async head() {
      try {
        const [head] = await reader.heads([EVERYONE])
        return head === 0 ? undefined : head
      } catch (error) {
        if (error instanceof AppError) return undefined
        throw error
      }
    },
  }
}
