/**
 * What is pushed to everyone, to all sessions of this node: a part of them in each turn of the event loop, so that a hundred thousand
 * sockets do not hold up all else. The push counts as confirmed before that: whoever it does not reach, for the node dies, has no
 * session here any more.
 */
import type { PushEntry } from '@tidings/protocol'
import type { Session } from './session.js'
import type { Sessions } from './sessions.js'

/** Sessions in one turn: some milliseconds. */
const PART = 500
/** Entries that wait for the one before; what comes beyond is read from the log. */
const MAX_WAITING = 64

export interface Broadcast {
  /** @returns whether it was taken */
  add(entry: PushEntry): boolean
}

export function createBroadcast(deps: {
  sessions: Pick<Sessions, 'all'>
  push(session: Session, entry: PushEntry): void
  /** An entry was not taken: the sessions must be compared with the heads. */
  missed(): void
}): Broadcast {
  const { sessions, push, missed } = deps
  const waiting: PushEntry[] = []
  let current: { entry: PushEntry; left: Iterator<Session> } | undefined
  let running = false

  /** One entry to all sessions, then the next: so each is shown them in order. Whoever comes meanwhile has read the head already. */
  function goOn(): void {
    for (let room = PART; room > 0; ) {
      if (!current) {
        const entry = waiting.shift()
        if (!entry) {
          running = false
          return
        }
        current = { entry, left: sessions.all()[Symbol.iterator]() }
      }
      const { done, value } = current.left.next()
      if (done) current = undefined
      else push(value, current.entry)
      room--
    }
    setImmediate(goOn)
  }

  return {
    add(entry) {
      if (waiting.length >= MAX_WAITING) {
        missed()
        return false
      }
      waiting.push(entry)
      if (!running) {
        running = true
        goOn()
      }
      return true
    },
  }
}
