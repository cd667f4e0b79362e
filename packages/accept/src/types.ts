/** The words between the edges (api, connect) and the one way in. */
import type { Appended, ChangeRule } from '@tidings/stream'

/** Who is behind a valid token. */
export interface Identity {
  /** The user; for a service token the service's name, which is no user. */
  user: string
  /** Session of our own sign-in, or undefined for tokens made elsewhere. */
  sessionId: string | undefined
  /** Milliseconds since 1970 when the token ends; Infinity for service tokens. */
  expiresAt: number
  /** Scopes of a service token; undefined for users. */
  scopes: ReadonlySet<string> | undefined
}

/** A message that somebody wants to send, already well-formed: ids match their patterns, the content its bounds. */
export interface Draft {
  from: string
  conversation: string
  type: string
  /** Raw JSON text, as `checkContent` returned it. */
  content: string
  /** The sender's key for this send, or ''. */
  clientId: string
  /** W3C traceparent, or ''. */
  trace: string
  /** One of many sent at once: refused first when there is too much. */
  bulk?: boolean
  /** It changes another entry, as logic has allowed. */
  change?: ChangeRule
  /** Of an edit: the type of its target. */
  edits?: string
}

/** Beside the answer: where the entry lies, to find out what has become of it. */
export type AcceptedAt = Accepted & Pick<Appended, 'streamId' | 'partition' | 'generation'>

/** The answer to a draft that was accepted, now or by an earlier send with the same clientId. */
export interface Accepted {
  id: string
  conversation: string
  seq: number
  /** Milliseconds since 1970. */
  sentAt: number
  duplicate: boolean
}
