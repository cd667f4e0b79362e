/** Password hashes: off the event loop, a bounded number at once, and the rest waits in a bounded queue. */
import { availableParallelism } from 'node:os'
import { hash, type Options, verify } from '@node-rs/argon2'
import { AppError } from '@tidings/protocol'

/** `Algorithm.Argon2id`; the enum itself exists as a type only. */
const ARGON2ID = 2
/** OWASP Password Storage Cheat Sheet, the first of its argon2id settings: 19 MiB, two passes, one lane. */
const OPTIONS: Options = { algorithm: ARGON2ID, memoryCost: 19_456, timeCost: 2, parallelism: 1 }
const MOST_AT_ONCE = 8
const MOST_WAITING = 32

export interface Passwords {
  /** @throws AppError `overloaded` */
  hash(password: string): Promise<string>
  /** Takes the same time for a user who has no password or does not exist. @throws AppError `overloaded` */
  matches(password: string, hash: string | null | undefined): Promise<boolean>
}

/**
 * @param atOnce more than there are processors gains nothing, and libuv's threads are also those of every DNS look-up
 */
export async function createPasswords(
  atOnce = Math.min(MOST_AT_ONCE, availableParallelism()),
  mostWaiting = MOST_WAITING,
): Promise<Passwords> {
  let running = 0
  const waiting: (() => void)[] = []

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (running >= atOnce) {
      if (waiting.length >= mostWaiting) {
        throw new AppError('overloaded', 'Too many people are signing in right now. Try again shortly.', {
          retryAfter: 1,
        })
      }
      // Whoever is done hands its place over: nobody who comes meanwhile can take it.
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else running++
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }

  const nobody = await hash('the password of nobody', OPTIONS)
  return {
    hash: (password) => inTurn(() => hash(password, OPTIONS)),
    async matches(password, known) {
      const matches = await inTurn(() => verify(known ?? nobody, password))
      return matches && known !== undefined && known !== null
    },
  }
}
