/**
 * What need not reach every device: told once to those who are there, kept nowhere, and lost where something fails. Between our own
 * processes it travels as the frames that clients are shown.
 */

/** Somebody is writing in a conversation. It stops by itself. */
export interface TypingEvent {
  op: 'typing'
  conversation: string
  user: string
}

/** How far somebody has got; one that was told before holds for what it does not name. */
export interface ReceiptEvent {
  op: 'receipt'
  conversation: string
  user: string
  /** One of the user's devices has everything up to here. */
  delivered?: number
  /** The person has read everything up to here. */
  read?: number
}

/** Somebody's first session began, or the last one ended. */
export interface PresenceEvent {
  op: 'presence'
  user: string
  online: boolean
}

export type Ephemeral = TypingEvent | ReceiptEvent | PresenceEvent

/** As one message between processes. */
export const ephemeralText = (events: readonly Ephemeral[]): string => JSON.stringify(events)

/** @returns the events of a message; those of another version, or of an operator's hand, that cannot be read are left out */
export function parseEphemerals(text: string): Ephemeral[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return []
  }
  return Array.isArray(parsed) ? parsed.filter(isEphemeral) : []
}

function isEphemeral(value: unknown): value is Ephemeral {
  if (typeof value !== 'object' || value === null) return false
  const { op, user, conversation, delivered, read, online } = value as Record<string, unknown>
  if (typeof user !== 'string') return false
  if (op === 'presence') return typeof online === 'boolean'
  if (typeof conversation !== 'string') return false
  if (op === 'typing') return true
  return op === 'receipt' && isSeq(delivered) && isSeq(read)
}

const isSeq = (value: unknown): boolean => value === undefined || Number.isSafeInteger(value)
