/** Sessions: opened by a sign-in, carried on by refresh tokens that are used once, ended by a logout or by a stolen token. */
import { createHash, randomBytes } from 'node:crypto'
import { AppError, type logicRpc } from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import { findUser, insertSession, revokeSession, rotateToken, type Store, type UserRow } from '@tidings/store'
import { sessionOf, userOf } from './input.js'
import type { KeptUsers } from './kept-users.js'
import type { Revocations } from './revocations.js'
import { requireActive, toUser, userDisabled } from './users.js'

export interface SessionDeps {
  store: Store
  revocations: Revocations
  keptUsers: KeptUsers
  /** Life of an unused refresh token, in seconds. */
  refreshTokenS: number
  log: Logger
}

const REFRESH_TOKEN = /^[A-Za-z0-9_-]{43}$/

const newToken = (): string => randomBytes(32).toString('base64url')
/** The token is 256 random bits: a plain hash cannot be turned back, a slow one would gain nothing. */
const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex')
const endOfLife = (deps: SessionDeps, now: Date): Date => new Date(now.getTime() + deps.refreshTokenS * 1_000)

const refused = (): AppError => new AppError('unauthenticated', 'This refresh token is not valid. Sign in again.')

/** @throws AppError `user_disabled`, `unavailable` */
export async function openSession(deps: SessionDeps, user: UserRow, device: string): Promise<logicRpc.Grant> {
  const id = randomBytes(16).toString('base64url')
  const refreshToken = newToken()
  const now = new Date()
  const opened = await insertSession(deps.store, {
    id,
    user: user.id,
    device,
    hash: hashOf(refreshToken),
    now,
    expiresAt: endOfLife(deps, now),
  })
  // Ended while the password was checked.
  if (!opened) throw userDisabled()
  return { user: toUser(user), sessionId: id, refreshToken }
}

/**
 * Trades a refresh token for the next one. A token that was traded before has been stolen, or its owner's has: the session ends.
 * @throws AppError `unauthenticated`, `user_disabled`, `unavailable` (then perhaps traded: sign in again if a repeat is refused)
 */
export async function refresh(deps: SessionDeps, request: logicRpc.RefreshRequest): Promise<logicRpc.Grant> {
  if (!REFRESH_TOKEN.test(request.refreshToken)) throw refused()
  const now = new Date()
  const refreshToken = newToken()
  const rotation = await rotateToken(deps.store, {
    hash: hashOf(request.refreshToken),
    nextHash: hashOf(refreshToken),
    now,
    expiresAt: endOfLife(deps, now),
  })
  if (rotation.outcome === 'reused') {
    deps.log.warn(
      { session: rotation.session, user: rotation.user },
      'a used refresh token was shown again; session revoked',
    )
    await deps.revocations.publish([rotation.session])
  }
  if (rotation.outcome !== 'rotated') throw refused()
  const since = deps.keptUsers.moment()
  const user = await findUser(deps.store, rotation.user)
  if (!user) throw refused()
  deps.keptUsers.keep([user], since)
  requireActive(user)
  return { user: toUser(user), sessionId: rotation.session, refreshToken }
}

/** @throws AppError `invalid_request`, `unavailable`: repeat it */
export async function logout(deps: SessionDeps, request: logicRpc.LogoutRequest): Promise<void> {
  const user = userOf(request.user)
  const id = sessionOf(request.sessionId)
  // MySQL first: what is written there is published sooner or later, whatever happens to Redis or to this process.
  const revokedAt = await revokeSession(deps.store, id, user, new Date())
  if (revokedAt !== undefined) await deps.revocations.publish([id])
}
