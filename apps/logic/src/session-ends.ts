/** Sessions, live ones and sign-ins, as an operator lists and ends them. */
import { AppError, type logicRpc } from '@tidings/protocol'
import { liveSignIns, revokeSession, revokeSessions, type Store } from '@tidings/store'
import { sessionOf, userOf } from './input.js'
import type { LiveSession, LiveSessions } from './live-sessions.js'
import type { Revocations } from './revocations.js'

/** Sign-ins that are listed. Older ones are there all the same, and end with the others. */
const MOST_LISTED = 500
/** Sessions that are ended at the same time. */
const AT_ONCE = 16

export interface SessionEndDeps {
  store: Store
  revocations: Pick<Revocations, 'publish'>
  live: LiveSessions
}

/** @throws AppError `invalid_request`, `unavailable` */
export async function listSessions(
  { store, live }: SessionEndDeps,
  request: logicRpc.ListSessionsRequest,
): Promise<logicRpc.ListSessionsResponse> {
  const user = userOf(request.user)
  const [sessions, signIns] = await Promise.all([live.of(user), liveSignIns(store, user, new Date(), MOST_LISTED)])
  return {
    sessions,
    signIns: signIns.map(({ id, device, createdAt, expiresAt }) => ({
      ...{ id, device },
      createdAt: createdAt.getTime(),
      expiresAt: expiresAt.getTime(),
    })),
  }
}

/**
 * Ends one session of a user, or all: the sign-in first, so that whoever is closed cannot come back with the token of it.
 * @throws AppError `session_not_found`, `invalid_request`, `unavailable`: repeat it
 */
export async function endSessions(deps: SessionEndDeps, request: logicRpc.EndSessionsRequest): Promise<void> {
  const user = userOf(request.user)
  if (request.session === '') {
    await deps.revocations.publish(await revokeSessions(deps.store, { user }, new Date()))
    await endLive(deps, user, await deps.live.of(user))
    return
  }
  const session = sessionOf(request.session)
  const live = (await deps.live.of(user)).find((one) => one.session === session)
  if (live) await endLive(deps, user, [live])
  else if (!(await endSignIn(deps, user, session))) throw new AppError('session_not_found')
}

/** Ends live sessions and the sign-ins behind them. @throws AppError `unavailable`: repeat it */
export async function endLive(deps: SessionEndDeps, user: string, sessions: readonly LiveSession[]): Promise<void> {
  for (let at = 0; at < sessions.length; at += AT_ONCE) {
    await Promise.all(
      sessions.slice(at, at + AT_ONCE).map(async (one) => {
        const signIn = await deps.live.signInOf(one)
        if (signIn) await endSignIn(deps, user, signIn)
        await deps.live.kick(one)
      }),
    )
  }
}

/** @returns false when there is none of this user */
async function endSignIn({ store, revocations }: SessionEndDeps, user: string, id: string): Promise<boolean> {
  const revokedAt = await revokeSession(store, id, user, new Date())
  if (revokedAt === undefined) return false
  await revocations.publish([id])
  return true
}
