/** What all nodes are told and need not keep: each tells its own sessions, where it concerns one. */
import type { Ephemeral, PresenceEvent, ReceiptEvent, TypingEvent } from '@tidings/protocol'
import type { EphemeralListener } from '@tidings/stream'
import type { Session } from './session.js'
import type { Sessions } from './sessions.js'

/** Typing that is told here: many who type in large rooms must not keep a node from its messages. */
const TYPING_FRAMES_PER_S = 20_000

/** Not for sessions that are opening, and not for readers that have enough to read: these frames may be lost, messages may not. */
export function tellLossy(session: Session, frame: string): void {
  if (session.state === 'open' && !session.congested) session.show(frame)
}

/** @param dropped told of events that are not shown */
export function createEphemeral(deps: {
  sessions: Pick<Sessions, 'concerned'>
  receipts: { add(event: ReceiptEvent): void }
  watch: { event(event: PresenceEvent): void; lookAgain(): void }
  dropped(events: number): void
  now?: () => number
}): EphemeralListener {
  const { sessions, receipts, watch, dropped, now = () => performance.now() } = deps
  let left = TYPING_FRAMES_PER_S
  let at = now()

  function refill(): void {
    const before = at
    at = now()
    left = Math.min(TYPING_FRAMES_PER_S, left + ((at - before) / 1_000) * TYPING_FRAMES_PER_S)
  }

  function typing({ op, conversation, user }: TypingEvent): void {
    let frame: string | undefined
    for (const session of sessions.concerned(conversation)) {
      if (session.user === user) continue
      if (left < 1) {
        dropped(1)
        return
      }
      left--
      frame ??= JSON.stringify({ op, conversation, user })
      tellLossy(session, frame)
    }
  }

  function one(event: Ephemeral): void {
    if (event.op === 'typing') typing(event)
    else if (event.op === 'receipt') receipts.add(event)
    else watch.event(event)
  }

  return {
    events(events) {
      refill()
      for (const event of events) one(event)
    },
    missed: () => watch.lookAgain(),
  }
}
