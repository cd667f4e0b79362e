/** Users of an outside identity provider get a row when they are first seen. */
import { LRUCache } from 'lru-cache'
import type { LogicClient } from './logic.js'
import type { Identity } from './types.js'

const MAX_REMEMBERED = 50_000
const REMEMBERED_MS = 300_000

/**
 * @returns a function that makes sure the user behind an identity exists and may act; resolved at once for our own sessions, whose
 * users exist, and for users seen lately. It throws AppError `user_disabled`, or `unavailable` when nobody can tell.
 */
export function createSeenUsers(
  logic: Pick<LogicClient, 'seeUser'>,
): (identity: Identity) => undefined | Promise<void> {
  const seen = new LRUCache<string, true>({ max: MAX_REMEMBERED, ttl: REMEMBERED_MS })
  async function see(user: string): Promise<void> {
    await logic.seeUser({ user })
    seen.set(user, true)
  }
  return ({ user, sessionId, scopes }) => (scopes || sessionId !== undefined || seen.has(user) ? undefined : see(user))
}
