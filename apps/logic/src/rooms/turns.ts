/** Changes of one room one after the other in this process, so that a busy room holds one connection to MySQL and not all of them. */
import { AppError } from '@tidings/protocol'

/** More would not be done within the time that a caller waits. */
const MAX_WAITING = 256

export interface Turns {
  /** @throws AppError `overloaded` when too many wait for this room: nothing was done; and what `work` throws */
  take<T>(room: string, work: () => Promise<T>): Promise<T>
}

/** @param maxWaiting changes of one room that may wait, the running one included */
export function createTurns(maxWaiting = MAX_WAITING): Turns {
  const rooms = new Map<string, { last: Promise<unknown>; waiting: number }>()
  return {
    async take(room, work) {
      const line = rooms.get(room) ?? { last: Promise.resolve(), waiting: 0 }
      if (line.waiting >= maxWaiting) {
        throw new AppError('overloaded', 'Too many changes of this room at once.', { retryAfter: 2 })
      }
      rooms.set(room, line)
      line.waiting++
      // How the one before ended is told to its own caller.
      const mine = line.last.then(work, work)
      line.last = mine
      try {
        return await mine
      } finally {
        line.waiting--
        if (line.waiting === 0) rooms.delete(room)
      }
    },
  }
}
