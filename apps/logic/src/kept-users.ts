/**
 * What permits need to know of users, as MySQL has told it last: sending goes on with it while MySQL does not answer. What another
 * process does to a user is told by a revocation: all that were told are heard before anything kept is believed, and drop it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { AppError } from '@tidings/protocol'
import type { UserRow } from '@tidings/store'
import { LRUCache } from 'lru-cache'

/** Some 200 bytes each. */
const MAX_KEPT = 100_000
/** How long MySQL may take: well within the time in which we are to answer. */
const PATIENCE_MS = 1_000
/** For so long after MySQL did not answer, it is not asked where what is kept is enough. */
const REST_MS = 1_000

export type KeptUser = Pick<UserRow, 'id' | 'disabledAt' | 'deletedAt' | 'hasBlocks'>

export interface KeptUsers {
  /**
   * Asks MySQL, and keeps what it tells of users.
   * @param users of whom the answer is wanted
   * @returns undefined when MySQL does not answer: then `require` tells what is kept
   * @throws AppError `unavailable` when neither MySQL nor Redis answers
   */
  ask<Answer extends { users: readonly KeptUser[] }>(
    users: readonly string[],
    read: () => Promise<Answer>,
  ): Promise<Answer | undefined>
  /** @throws AppError `unavailable` when nothing is kept of the user */
  require(user: string): KeptUser
  /** To be taken before MySQL is asked by other ways than `ask`: what was read before somebody was forgotten is not kept. */
  moment(): number
  keep(users: readonly KeptUser[], since: number): void
  /** What is kept of them is wrong. */
  forget(users: Iterable<string>): void
}

/** @param hear resolves when every revocation that was told before the call has been heard */
export function createKeptUsers(hear: () => Promise<void>): KeptUsers {
  const kept = new LRUCache<string, KeptUser>({ max: MAX_KEPT })
  let forgotten = 0
  let restsUntil = Number.NEGATIVE_INFINITY

  function keep(users: readonly KeptUser[], since: number): void {
    if (since !== forgotten) return
    for (const { id, disabledAt, deletedAt, hasBlocks } of users) {
      // That somebody may act again is told to nobody: a refusal is not kept.
      if (disabledAt || deletedAt) kept.delete(id)
      else kept.set(id, { id, disabledAt, deletedAt, hasBlocks })
    }
  }

  /** @returns undefined when it takes too long, or MySQL is away */
  async function answerOf<Answer extends { users: readonly KeptUser[] }>(
    read: () => Promise<Answer>,
  ): Promise<Answer | undefined> {
    const since = forgotten
    const reading = read().then(
      (answer) => {
        // Also when nobody waits for it any more.
        keep(answer.users, since)
        return answer
      },
      (error: unknown) => {
        if (error instanceof AppError && error.code === 'unavailable') return undefined
        throw error
      },
    )
    const patience = new AbortController()
    const tooLate = delay(PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => undefined)
    try {
      return await Promise.race([reading, tooLate])
    } finally {
      patience.abort()
      // One that fails later has nobody to tell.
      reading.catch(() => undefined)
    }
  }

  return {
    async ask(users, read) {
      const isEnough = (): boolean => users.every((user) => kept.get(user)?.hasBlocks === false)
      if (performance.now() < restsUntil && isEnough()) {
        await hear()
        if (isEnough()) return undefined
      }
      const answer = await answerOf(read)
      if (answer) return answer
      restsUntil = performance.now() + REST_MS
      await hear()
      return undefined
    },
    require(user) {
      const one = kept.get(user)
      if (!one) throw new AppError('unavailable', 'Whether this user may write cannot be told now.', { retryAfter: 2 })
      return one
    },
    moment: () => forgotten,
    keep,
    forget(users) {
      forgotten++
      for (const user of users) kept.delete(user)
    },
  }
}
