/** "Is writing": from one session to the other people of a conversation, and no more often than they need it. */
import { AppError, requirePossibleParty, type TypingEvent } from '@tidings/protocol'
import type { Session } from './session.js'

/** A client lets it end after 5 s: one every 2 s keeps it alive even if one is lost. */
const EVERY_MS = 2_000
/** Nobody writes in more conversations at once. */
const AT_ONCE = 16

/** @throws AppError `conversation_not_found` when the session's user is not in the conversation */
export type Typing = (session: Session, conversation: string) => void

/** @returns a function that tells that a session's user is writing; too often, or in too many conversations, is passed over */
export function createTyping(deps: { publish(event: TypingEvent): void; now?: () => number }): Typing {
  const { publish, now = () => performance.now() } = deps
  /** conversation to when it was told last */
  const told = new WeakMap<Session, Map<string, number>>()

  return (session, conversation) => {
    requireTalk(session, conversation)
    const at = now()
    const recent = told.get(session) ?? new Map<string, number>()
    told.set(session, recent)
    for (const [name, last] of recent) if (at - last >= EVERY_MS) recent.delete(name)
    if (recent.has(conversation) || recent.size >= AT_ONCE) return
    recent.set(conversation, at)
    publish({ op: 'typing', conversation, user: session.user })
  }
}

/** A direct conversation of the user's, by its name, or a room that the session is in: in feeds nobody writes. */
function requireTalk(session: Session, conversation: string): void {
  const { kind } = requirePossibleParty(conversation, session.user)
  if (kind === 'dm' || (kind === 'room' && session.holds(conversation))) return
  throw new AppError('conversation_not_found', 'There is no such conversation, or you are not in it.')
}
