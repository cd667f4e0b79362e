/** How many uploads may run at once: each holds a connection, a file and some memory. */
import { AppError } from '@tidings/protocol'
import { jitterSeconds } from '@tidings/service'

const OF_ALL = 64
const OF_ONE = 4

export interface Slots {
  /** @returns to be called once when it is over @throws AppError `overloaded`, `rate_limited` */
  take(user: string): () => void
  readonly taken: number
}

export function createSlots(): Slots {
  const byUser = new Map<string, number>()
  let taken = 0
  return {
    get taken() {
      return taken
    },
    take(user) {
      if (taken >= OF_ALL) {
        const retryAfter = jitterSeconds(1, 5)
        throw new AppError('overloaded', 'Too many files are being uploaded here now. Try again shortly.', {
          retryAfter,
        })
      }
      const own = byUser.get(user) ?? 0
      if (own >= OF_ONE) {
        throw new AppError('rate_limited', `At most ${OF_ONE} uploads at once: wait for one to end.`, { retryAfter: 1 })
      }
      byUser.set(user, own + 1)
      taken++
      return () => {
        const left = byUser.get(user)! - 1
        if (left === 0) byUser.delete(user)
        else byUser.set(user, left)
        taken--
      }
    },
  }
}
