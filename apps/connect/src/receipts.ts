/** Receipts of a conversation to its other people, gathered for a moment: who reads fast moves on several times in it. */
import { EVERYONE, type ReceiptEvent } from '@tidings/protocol'
import type { Stoppable } from '@tidings/service'
import { tellLossy } from './ephemeral.js'
import type { Session } from './session.js'
import type { Sessions } from './sessions.js'

const GATHER_MS = 250
const MAX_WAITING = 50_000

export interface Receipts extends Stoppable {
  add(event: ReceiptEvent): void
}

export function createReceipts(deps: {
  sessions: Pick<Sessions, 'concerned' | 'of'>
  dropped(events: number): void
  gatherMs?: number
}): Receipts {
  const { sessions, dropped, gatherMs = GATHER_MS } = deps
  let waiting = new Map<string, ReceiptEvent>()
  let timer: NodeJS.Timeout | undefined

  /** Where somebody has got in what is pushed to everyone is nobody else's business. */
  const listeners = ({ conversation, user }: ReceiptEvent): Iterable<Session> =>
    conversation === EVERYONE ? sessions.of(user) : sessions.concerned(conversation)

  function concernsSomebody(event: ReceiptEvent): boolean {
    const { user, read } = event
    for (const session of listeners(event)) if (isFor(session, user, read)) return true
    return false
  }

  function flush(): void {
    timer = undefined
    const all = waiting
    waiting = new Map()
    for (const event of all.values()) tell(event)
  }

  function tell(event: ReceiptEvent): void {
    const { op, conversation, user, delivered, read } = event
    let toOthers: string | undefined
    let toOwn: string | undefined
    for (const session of listeners(event)) {
      if (!isFor(session, user, read)) continue
      if (session.user === user) {
        toOwn ??= JSON.stringify({ op, conversation, user, read })
        tellLossy(session, toOwn)
      } else {
        toOthers ??= JSON.stringify({ op, conversation, user, delivered, read })
        tellLossy(session, toOthers)
      }
    }
  }

  return {
    add(event) {
      const key = `${event.user} ${event.conversation}`
      const known = waiting.get(key)
      if (known) {
        waiting.set(key, merged(known, event))
        return
      }
      if (!concernsSomebody(event)) return
      if (waiting.size >= MAX_WAITING) {
        dropped(1)
        return
      }
      waiting.set(key, event)
      timer ??= setTimeout(flush, gatherMs)
    },
    async stop() {
      clearTimeout(timer)
    },
  }
}

/** What one of the user's devices has is news for the others only; where the person has read to, for the own devices, too. */
const isFor = (session: Session, user: string, read: number | undefined): boolean =>
  session.user !== user || read !== undefined

function merged(before: ReceiptEvent, { delivered, read }: ReceiptEvent): ReceiptEvent {
  const { op, conversation, user } = before
  const further = { delivered: furthest(before.delivered, delivered), read: furthest(before.read, read) }
  return {
    ...{ op, conversation, user },
    ...(further.delivered !== undefined && { delivered: further.delivered }),
    ...(further.read !== undefined && { read: further.read }),
  }
}

const furthest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.max(a, b)
