/**
 * What the edges must not believe any more, sessions, users and permits, told to api and connect by a sorted set in Redis that they poll. MySQL
 * is where it is kept; whenever Redis may lack some (a failed write, a new connection, our own start) all that still matters is
 * published again from there.
 */
import { revokedSends, revokedUser } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import { backoffMs, pause } from '@tidings/service'
import { blockedSince, revokedSince, type Store, usersEndedSince } from '@tidings/store'
import { type Keys, onReconnect, type Redis } from '@tidings/stream'
import { loadScript } from './script.js'

const DAY_MS = 24 * 60 * 60 * 1_000
/** Clocks of our processes may differ by this much. */
const SKEW_MS = 60_000
const revoke = loadScript('revoke.lua')
/** Words in one call. */
const CHUNK = 500
const RETRY = { firstMs: 200, maxMs: 2_000 }

export interface Revocations extends Stoppable {
  /**
   * Tells the edges. Never fails: what cannot be told now is told as soon as Redis takes it.
   * @param words sessions, and what `revoked.ts` of protocol makes; MySQL has them already
   */
  publish(words: readonly string[]): Promise<void>
  /** Redis may have forgotten: all that still matter are told again. */
  publishAgain(): void
  /** Is everything told? */
  readonly settled: boolean
}

export function startRevocations(options: {
  redis: Redis
  keys: Keys
  store: Store
  accessTokenS: number
  log: Logger
}): Revocations {
  const { redis, keys, store, accessTokenS, log } = options
  const accessMs = accessTokenS * 1_000
  const stopper = new AbortController()
  /** Something may be missing in Redis. Raised again while a pass runs, it asks for another one. */
  let owed = false
  let running: Promise<void> | undefined

  async function write(words: readonly string[]): Promise<void> {
    for (let at = 0; at < words.length; at += CHUNK) {
      await revoke(redis, [keys.revoked()], [DAY_MS + accessMs, ...words.slice(at, at + CHUNK)])
    }
  }

  /** The newest things that edges may have to be told, from MySQL. */
  async function all(): Promise<string[]> {
    const sessions = await revokedSince(store, new Date(Date.now() - accessMs - SKEW_MS))
    // What is kept of users and permits is asked for again every few minutes; a day covers who could not, for logic or MySQL was away.
    const users = await usersEndedSince(store, new Date(Date.now() - DAY_MS))
    const blocks = await blockedSince(store, new Date(Date.now() - DAY_MS))
    const sends = blocks.map(({ user, blocked }) => revokedSends(blocked, user))
    return [...users.map(revokedUser), ...sends, ...sessions.map(({ id }) => id)]
  }

  async function publishAll(): Promise<void> {
    for (let attempt = 0; owed && !stopper.signal.aborted; attempt++) {
      try {
        owed = false
        await write(await all())
      } catch (error) {
        owed = true
        log.debug({ err: error, attempt }, 'revocations are not published yet; it is tried again')
        await pause(backoffMs(attempt, RETRY), stopper.signal)
      }
    }
  }

  function owe(): void {
    owed = true
    running ??= publishAll().finally(() => {
      running = undefined
    })
  }

  const ended = onReconnect(redis, owe)
  owe()
  return {
    async publish(words) {
      try {
        await write(words)
      } catch (error) {
        log.warn({ err: error instanceof Error ? error.message : error }, 'a revocation is told to the edges later')
        owe()
      }
    },
    publishAgain: owe,
    get settled() {
      return !owed && running === undefined
    },
    async stop() {
      ended()
      stopper.abort()
      await running
    },
  }
}
