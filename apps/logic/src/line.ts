/** A line before what is expensive: so many at once, so many behind them, none for longer than is of use, and so few of one user that others have their turn. */
import { AppError } from '@tidings/protocol'

export interface Line {
  /** @throws AppError `overloaded` when the line is full, the user has enough in it, or its turn does not come in time */
  run<T>(user: string, work: () => Promise<T>): Promise<T>
}

export interface LineBounds {
  atOnce: number
  /** Those that wait. */
  inLine: number
  /** Of one user, whether they run or wait. */
  perUser: number
  /** How long one waits for its turn: whoever asked has gone by then. */
  waitMs: number
  /** Told to whom is refused. */
  refusal: string
}

export function createLine({ atOnce, inLine, perUser, waitMs, refusal }: LineBounds): Line {
  let running = 0
  const line: (() => void)[] = []
  const byUser = new Map<string, number>()

  const tooMuch = (): AppError => new AppError('overloaded', refusal, { retryAfter: 2 })

  /** Resolves when it is this one's turn. Whoever ends hands its place on. */
  function turn(): undefined | Promise<void> {
    if (running < atOnce) {
      running++
      return undefined
    }
    return new Promise((resolve, reject) => {
      const next = (): void => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        line.splice(line.indexOf(next), 1)
        reject(tooMuch())
      }, waitMs)
      line.push(next)
    })
  }

  function leave(): void {
    const next = line.shift()
    if (next) next()
    else running--
  }

  return {
    async run(user, work) {
      const own = byUser.get(user) ?? 0
      if (own >= perUser || (running >= atOnce && line.length >= inLine)) throw tooMuch()
      byUser.set(user, own + 1)
      try {
        await turn()
        try {
          return await work()
        } finally {
          leave()
        }
      } finally {
        const left = byUser.get(user)! - 1
        if (left > 0) byUser.set(user, left)
        else byUser.delete(user)
      }
    },
  }
}
