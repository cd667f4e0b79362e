/** One-use tickets for WebSocket clients that can set neither a header nor a subprotocol: safe to stand in a URL for a minute. */
import { createHash, randomBytes } from 'node:crypto'
import { AppError } from '@tidings/protocol'
import { type Keys, type Redis, redisAway } from '@tidings/stream'
import type { Identity } from './types.js'

export const TICKET_LIVES_S = 60

export interface Tickets {
  /** @returns the ticket; only its digest is kept */
  issue(identity: Identity): Promise<string>
  /** Takes a ticket; it works once. @throws AppError `unauthenticated` */
  redeem(ticket: string): Promise<Identity>
}

const digestOf = (ticket: string): string => createHash('sha256').update(ticket).digest('base64url')

export function createTickets(redis: Redis, keys: Keys, isRevoked: (sessionId: string) => boolean): Tickets {
  return {
    async issue({ user, sessionId, expiresAt }) {
      const ticket = randomBytes(24).toString('base64url')
      const value = JSON.stringify({ user, sessionId, expiresAt })
      try {
        await redis.set(keys.ticket(digestOf(ticket)), value, 'EX', TICKET_LIVES_S)
      } catch (error) {
        throw redisAway(error)
      }
      return ticket
    },
    async redeem(ticket) {
      let value: string | null
      try {
        value = await redis.getdel(keys.ticket(digestOf(ticket)))
      } catch (error) {
        throw redisAway(error)
      }
      if (value === null) throw new AppError('unauthenticated', 'The ticket is unknown, used or too old.')
      const { user, sessionId, expiresAt } = JSON.parse(value) as Omit<Identity, 'scopes'>
      if (expiresAt <= Date.now() || (sessionId !== undefined && isRevoked(sessionId)))
        throw new AppError('unauthenticated', 'The session has ended.')
      return { user, sessionId, expiresAt, scopes: undefined }
    },
  }
}
