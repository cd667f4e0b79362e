/** Who calls. */
import type { Identity, SeenUsers, Tokens } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import type { FastifyRequest, HookHandlerDoneFunction, onRequestHookHandler } from 'fastify'
import type { Rates } from './rates.js'

/** RFC 6750, section 2.1. Two Authorization headers arrive joined by a comma and are none. */
const BEARER = /^bearer +([^\s,]+)$/i

/** @returns the hook of every route that needs a token; it sets `request.identity`. Nothing waits where everything is known. */
export function createAuthenticate(tokens: Tokens, seen: Pick<SeenUsers, 'check'>, rates: Rates): onRequestHookHandler {
  /** Whoever shows a token that is none is counted by address. */
  function refuse(request: FastifyRequest, error: unknown, done: HookHandlerDoneFunction): void {
    try {
      if (error instanceof AppError && error.code === 'unauthenticated') rates.stranger(request.ip)
      done(error as Error)
    } catch (limited) {
      done(limited as Error)
    }
  }

  return function authenticate(request, _reply, done) {
    function admit(identity: Identity): void {
      request.identity = identity
      try {
        if (!request.routeOptions.config.sends) rates.call(identity)
      } catch (error) {
        done(error as Error)
        return
      }
      const asked = seen.check(identity)
      if (asked) asked.then(() => done(), done)
      else done()
    }
    const token = BEARER.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) {
      done(new AppError('unauthenticated', 'Send a token in the header Authorization: Bearer <token>.'))
      return
    }
    let verified: Identity | Promise<Identity>
    try {
      verified = tokens.verify(token)
    } catch (error) {
      refuse(request, error, done)
      return
    }
    if (verified instanceof Promise) verified.then(admit, (error: unknown) => refuse(request, error, done))
    else admit(verified)
  }
}

/** The name of a service whose token has the scope. @throws AppError `forbidden`, for users too */
export function requireScope({ user, scopes }: Identity, scope: string): string {
  if (!scopes)
    throw new AppError('forbidden', `This call is for servers: it needs a service token with the scope ${scope}.`)
  if (!scopes.has(scope)) throw new AppError('forbidden', `This service token does not have the scope ${scope}.`)
  return user
}

/** @throws AppError `forbidden` for a service token: it stands for no person */
export function requireUser(identity: Identity): string {
  if (identity.scopes) throw new AppError('forbidden', 'This call is for users; a service token stands for none.')
  return identity.user
}

/**
 * Whose view somebody may read: users their own, a service token with the scope read that of the user it names.
 * @throws AppError `forbidden`
 */
export function requireReader(identity: Identity, as: string | undefined): string {
  if (!identity.scopes) {
    if (as === undefined || as === identity.user) return identity.user
    throw new AppError('forbidden', 'Only a service token may read as somebody else.')
  }
  requireScope(identity, 'read')
  if (as === undefined) throw new AppError('forbidden', 'A service token says as whom it reads: ?as=<user>.')
  return as
}
