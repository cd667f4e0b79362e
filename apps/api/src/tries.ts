/** Guessing passwords is made slow: by name and by address, in all api processes together. A right password never waits longer than a minute. */
import { AppError } from '@tidings/protocol'
import { type Keys, loadScript, type Redis, scriptFile } from '@tidings/stream'

const script = loadScript(scriptFile('tries.lua', import.meta.url))
const LONGEST_WAIT_MS = 60_000
const COUNT_MS = 15 * 60_000
/** An address may be that of many people. */
const FREE = { name: 10, address: 50 } as const

export interface Tries {
  /**
   * Runs a sign-in, and counts it where the password was wrong.
   * @throws AppError `rate_limited` without running it, while earlier failures make it wait; else what it throws
   */
  run<T>(name: string, address: string, signIn: () => Promise<T>): Promise<T>
}

/** While Redis is away nothing is counted here: the address' own limit goes on. */
export function createTries(redis: Redis, keys: Keys): Tries {
  async function call(op: 'try' | 'undo' | 'forget', kind: keyof typeof FREE, key: string): Promise<number> {
    try {
      return Number(await script.run(redis, [keys.tries(kind, key)], [op, FREE[kind], LONGEST_WAIT_MS, COUNT_MS]))
    } catch {
      return 0
    }
  }

  return {
    async run(name, address, signIn) {
      const [byName, byAddress] = await Promise.all([call('try', 'name', name), call('try', 'address', address)])
      const waitMs = Math.max(byName, byAddress)
      if (waitMs > 0) {
        // What the other one counted was no try.
        if (byName === 0) await call('undo', 'name', name)
        if (byAddress === 0) await call('undo', 'address', address)
        throw new AppError('rate_limited', 'Too many failed attempts to sign in. Wait a moment.', {
          retryAfter: Math.ceil(waitMs / 1_000),
        })
      }
      try {
        const answer = await signIn()
        await Promise.all([call('forget', 'name', name), call('undo', 'address', address)])
        return answer
      } catch (error) {
        const wrong = error instanceof AppError && error.code === 'invalid_credentials'
        if (!wrong) await Promise.all([call('undo', 'name', name), call('undo', 'address', address)])
        throw error
      }
    },
  }
}
