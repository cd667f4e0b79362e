/**
 * What permits need to know of users, as MySQL has told it last: sending goes on with it while MySQL is away. Nobody can be disabled,
 * deleted or blocked meanwhile; what was done before is heard from the revocations, and what is kept of those users is dropped.
 */
import { AppError } from '@tidings/protocol'
import type { UserRow } from '@tidings/store'
import { LRUCache } from 'lru-cache'

/** Some 200 bytes each. */
const MAX_KEPT = 100_000

export type KeptUser = Pick<UserRow, 'id' | 'disabledAt' | 'deletedAt' | 'hasBlocks'>

export interface KeptUsers {
  /** To be taken before MySQL is asked: what was read before a user was forgotten is not kept. */
  moment(): number
  keep(users: readonly KeptUser[], since: number): void
  get(user: string): KeptUser | undefined
  forget(users: Iterable<string>): void
}

export function createKeptUsers(): KeptUsers {
  const kept = new LRUCache<string, KeptUser>({ max: MAX_KEPT })
  let forgotten = 0
  return {
    moment: () => forgotten,
    keep(users, since) {
      if (since !== forgotten) return
      for (const { id, disabledAt, deletedAt, hasBlocks } of users) {
        // That somebody may act again is told to nobody: a refusal is not kept.
        if (disabledAt || deletedAt) kept.delete(id)
        else kept.set(id, { id, disabledAt, deletedAt, hasBlocks })
      }
    },
    get: (user) => kept.get(user),
    forget(users) {
      forgotten++
      for (const user of users) kept.delete(user)
    },
  }
}

/**
 * Users as MySQL tells of them, and as it last did while it is away.
 * @param read asks MySQL
 * @returns finds one: undefined when there is no such user; throws AppError `unavailable` of one who is not kept while MySQL is away
 */
export async function knownUsers(
  kept: KeptUsers,
  read: () => Promise<readonly KeptUser[]>,
): Promise<(user: string) => KeptUser | undefined> {
  const since = kept.moment()
  try {
    const rows = await read()
    kept.keep(rows, since)
    const known = new Map(rows.map((row) => [row.id, row]))
    return (user) => known.get(user)
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'unavailable') throw error
    return (user) => {
      const one = kept.get(user)
      if (!one) throw error
      return one
    }
  }
}
