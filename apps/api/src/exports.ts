/** Exports that run: one per user in all api processes together, a few in this one. */
import { randomBytes } from 'node:crypto'
import { AppError } from '@tidings/protocol'
import { type Keys, loadScript, type Redis, redisAway, scriptFile } from '@tidings/stream'

const script = loadScript(scriptFile('export.lua', import.meta.url))
const AT_ONCE = 8
/** Longer than a client may leave its socket unread. */
const LIVES_MS = 90_000

/** An export that runs. */
export interface RunningExport {
  /** Goes on. @throws AppError `rate_limited` when it was away for so long that another one runs; `unavailable` */
  keep(): Promise<void>
  /** It has ended, however. Never throws: what was not dropped ends by itself. */
  drop(): Promise<void>
}

export interface Exports {
  /** @throws AppError `rate_limited` while one of this user runs, `overloaded`, `unavailable` */
  take(user: string): Promise<RunningExport>
}

const alreadyRuns = (): AppError =>
  new AppError('rate_limited', 'An export of yours runs already. Try again when it has ended.', { retryAfter: 30 })

export function createExports(redis: Redis, keys: Keys): Exports {
  let running = 0

  async function call(op: 'take' | 'keep' | 'drop', user: string, word: string): Promise<boolean> {
    try {
      return (await script.run(redis, [keys.export(user)], [op, word, LIVES_MS])) === 1
    } catch (error) {
      throw redisAway(error)
    }
  }

  return {
    async take(user) {
      if (running >= AT_ONCE)
        throw new AppError('overloaded', 'Too many exports at once. Try again shortly.', { retryAfter: 10 })
      running++
      const word = randomBytes(12).toString('hex')
      let dropped = false
      try {
        if (!(await call('take', user, word))) throw alreadyRuns()
      } catch (error) {
        running--
        throw error
      }
      return {
        async keep() {
          if (!(await call('keep', user, word))) throw alreadyRuns()
        },
        async drop() {
          if (dropped) return
          dropped = true
          running--
          await call('drop', user, word).catch(() => undefined)
        },
      }
    },
  }
}
