/**
 * Addresses that work without a header, for a while: what pages put into `<img>` and `<video>`. A ticket says for whom it is; whether that
 * user may read the file is asked at each use.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Identity } from '@tidings/accept'
import { AppError } from '@tidings/protocol'

export const FILE_TICKET_LIVES_S = 300
const MAX_LENGTH = 1_024

export interface FileTickets {
  /** @returns the ticket, and for how many seconds it works: not longer than the identity's token */
  issue(file: string, identity: Identity): { ticket: string; expiresIn: number }
  /** @throws AppError `unauthenticated` */
  read(file: string, ticket: string): Identity
}

/** @param secret of all api processes; the key for tickets is derived from it, so that none is good for anything else */
export function createFileTickets(secret: string): FileTickets {
  const key = createHmac('sha256', secret).update('tidings file tickets').digest()
  const seal = (file: string, facts: string): Buffer => createHmac('sha256', key).update(`${file}.${facts}`).digest()

  return {
    issue(file, { user, sessionId, expiresAt }) {
      const now = Date.now()
      const until = Math.min(now + FILE_TICKET_LIVES_S * 1_000, expiresAt)
      const facts = Buffer.from(JSON.stringify([user, sessionId ?? null, until])).toString('base64url')
      const ticket = `${facts}.${seal(file, facts).toString('base64url')}`
      return { ticket, expiresIn: Math.max(0, Math.floor((until - now) / 1_000)) }
    },
    read(file, ticket) {
      const [facts = '', seals = '', ...rest] = ticket.length > MAX_LENGTH ? [] : ticket.split('.')
      const given = Buffer.from(seals, 'base64url')
      const right = seal(file, facts)
      if (rest.length > 0 || given.length !== right.length || !timingSafeEqual(given, right)) throw refused()
      const [user, sessionId, until] = JSON.parse(Buffer.from(facts, 'base64url').toString()) as [
        string,
        string | null,
        number,
      ]
      if (Date.now() >= until) throw refused()
      return { user, sessionId: sessionId ?? undefined, expiresAt: until, scopes: undefined }
    },
  }
}

const refused = (): AppError => new AppError('unauthenticated', 'The ticket is not valid for this file, or too old.')
