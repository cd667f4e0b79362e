/** A bound on how many of something run at once, and on how many wait in line for it. */
import { AppError } from '@tidings/protocol'

export interface Slots {
  /** @throws AppError `overloaded` when the line is full */
  run<T>(work: () => Promise<T>): Promise<T>
  readonly running: number
  readonly waiting: number
  /** Nothing more would be taken, not even into the line. */
  readonly full: boolean
}

export function createSlots(most: number, longestLine: number): Slots {
  const line: (() => void)[] = []
  let running = 0
  return {
    async run(work) {
      // The slot is handed over directly, so that nobody slips in between.
      if (running < most) running++
      else if (line.length < longestLine) await new Promise<void>((resolve) => line.push(resolve))
      else throw new AppError('overloaded', 'Too many wait for this.', { retryAfter: 1 })
      try {
        return await work()
      } finally {
        const next = line.shift()
        if (next) next()
        else running--
      }
    },
    get running() {
      return running
    },
    get waiting() {
      return line.length
    },
    get full() {
      return running >= most && line.length >= longestLine
    },
  }
}
