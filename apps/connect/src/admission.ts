/** Who may open a session: the checks between an upgrade and `ready`. */
import type { Identity, SeenUsers, Tickets, Tokens } from '@tidings/accept'
import { AppError, Close, DEVICE } from '@tidings/protocol'
import { type HttpAnswer, problemAnswer } from './plain-answer.js'
import type { UpgradeRequest } from './transport.js'

export const SUBPROTOCOL = 'tidings.v1'

/** Refusals that are known before the upgrade. A request without an Origin is not from a web page. */
export function refuseOrigin(request: UpgradeRequest, origins: readonly string[]): HttpAnswer | undefined {
  const origin = request.header('origin')
  if (origin === '' || origins.includes('*') || origins.includes(origin)) return undefined
  if (sameHost(origin, request.header('host'))) return undefined
  return problemAnswer(new AppError('origin_not_allowed', 'This origin is not in TIDINGS_ORIGINS.'))
}

/** A page served from this very host and port is not a foreign one. */
function sameHost(origin: string, host: string): boolean {
  return URL.canParse(origin) && host !== '' && new URL(origin).host === host
}

/** What tells who connects. */
export interface Admission {
  tokens: Tokens
  tickets: Tickets
  seenUsers: SeenUsers
}

/**
 * The identity behind the request's token: Authorization header, subprotocol `bearer.<jwt>`, or a one-use ticket.
 * @throws AppError `unauthenticated`, `forbidden` for service tokens, `user_disabled`, `unavailable`
 */
export async function authenticate(
  request: UpgradeRequest,
  { tokens, tickets, seenUsers }: Admission,
): Promise<Identity> {
  const token = bearerOf(request)
  const ticket = request.query.get('ticket')
  if (token === undefined && ticket === null) throw new AppError('unauthenticated', 'A token is required.')
  let identity: Identity
  try {
    identity = token === undefined ? await tickets.redeem(ticket!) : await tokens.verify(token)
  } catch (error) {
    // Disabling a user ends the sessions, too: a client that were told of these alone would go for a new token.
    const user = token === undefined ? undefined : tokens.userOfEnded(token)
    if (user !== undefined) await seenUsers.check({ user })
    throw error
  }
  if (identity.scopes) throw new AppError('forbidden', 'A service token is no user; it cannot open a session.')
  await seenUsers.check(identity)
  return identity
}

function bearerOf(request: UpgradeRequest): string | undefined {
  const header = /^Bearer +(\S+)$/i.exec(request.header('authorization'))?.[1]
  if (header !== undefined) return header
  const offered = request.header('sec-websocket-protocol').split(',')
  return offered
    .map((name) => name.trim())
    .find((name) => name.startsWith('bearer.'))
    ?.slice('bearer.'.length)
}

/** @throws AppError `bad_frame` when the name is not one */
export function deviceOf(request: UpgradeRequest): string {
  const device = request.query.get('device') ?? 'default'
  if (!DEVICE.test(device)) throw new AppError('bad_frame', 'device must be 1 to 64 of A-Z a-z 0-9 _ . @ and -.')
  return device
}

/** The close code that tells a refused client what to do next. */
export function closeCodeOf(error: AppError): number {
  switch (error.code) {
    case 'unauthenticated':
      return Close.Unauthenticated
    case 'forbidden':
    case 'user_disabled':
      return Close.Forbidden
    case 'bad_frame':
      return Close.BadFrames
    case 'rate_limited':
    case 'limit_reached':
      return Close.TooManyFrames
    default:
      return Close.Overloaded
  }
}
