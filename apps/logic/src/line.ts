/** A line before what is expensive: so many at once, so many behind them, and so few of one user that others have their turn. */
import { AppError } from '@tidings/protocol'

export interface Line {
  /** @throws AppError `overloaded` when the line is full, or the user has enough in it */
  run<T>(user: string, work: () => Promise<T>): Promise<T>
}

export interface LineBounds {
  atOnce: number
  /** Those that wait. */
  inLine: number
  /** Of one user, whether they run or wait. */
  perUser: number
  /** Told to whom is refused. */
  refusal: string
}

export function createLine({ atOnce, inLine, perUser, refusal }: LineBounds): Line {
  let running = 0
  const line: (() => void)[] = []
  const byUser = new Map<string, number>()

  /** Resolves when it is this one's turn. Whoever ends hands its place on. */
  function turn(): undefined | Promise<void> {
    if (running >= atOnce) return new Promise((resolve) => line.push(resolve))
    running++
    return undefined
  }

  function leave(): void {
    const next = line.shift()
    if (next) next()
    else running--
  }

  return {
    async run(user, work) {
      const own = byUser.get(user) ?? 0
      if (own >= perUser || (running >= atOnce && line.length >= inLine))
        throw new AppError('overloaded', refusal, { retryAfter: 2 })
      byUser.set(user, own + 1)
      await turn()
      try {
        return await work()
      } finally {
        leave()
        const left = byUser.get(user)! - 1
        if (left > 0) byUser.set(user, left)
        else byUser.delete(user)
      }
    },
  }
}
