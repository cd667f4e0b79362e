/**
 * What this node remembers of the entries that pushes brought it: a ring of the newest, in flat arrays, 24 bytes each. Nothing is written
 * anywhere for it. Noting one costs about as much as reading its id; finding one means looking through all of them, which only
 * happens when somebody asks what became of a message.
 */
import { FRAME_ID_AT } from '@tidings/protocol'

/** Entries that are remembered: 1.5 MiB. */
const REMEMBERED = 65_536

const ID = /^[1-9]\d{0,18}$/
const MOST_DIGITS = 19
const ZERO = 48
/** An id has more digits than a number holds: the first nine are kept by themselves. */
const FIRST_DIGITS = 9

/** A push brought an entry here. */
export interface RoutedEntry {
  /** When it did so first, milliseconds since 1970. */
  at: number
  /** That it was put to; of several pushes of the same entry, the most. */
  sessions: number
}

export interface Routed {
  /** @param frame as messageFrame makes it; what is none, or has no id, is passed over */
  note(frame: Uint8Array, sessions: number): void
  of(id: string): RoutedEntry | undefined
  /** Everything that came later than this is remembered. */
  readonly since: number
}

export function createRouted({ size = REMEMBERED, now = Date.now } = {}): Routed {
  const firsts = new Uint32Array(size)
  const rests = new Float64Array(size)
  const ats = new Float64Array(size)
  const puts = new Uint32Array(size)
  let since = now()
  let next = 0
  let full = false

  return {
    note(frame, sessions) {
      const middle = Math.min(FRAME_ID_AT + FIRST_DIGITS, frame.length)
      const end = Math.min(FRAME_ID_AT + MOST_DIGITS, frame.length)
      let i = FRAME_ID_AT
      let first = 0
      for (; i < middle && isDigit(frame[i]!); i++) first = first * 10 + frame[i]! - ZERO
      if (i === FRAME_ID_AT) return
      // Begins with a 1, so that 0s in front count.
      let rest = 1
      for (; i < end && isDigit(frame[i]!); i++) rest = rest * 10 + frame[i]! - ZERO
      if (full) since = ats[next]!
      firsts[next] = first
      rests[next] = rest
      ats[next] = now()
      puts[next] = sessions
      next++
      if (next < size) return
      next = 0
      full = true
    },
    of(id) {
      if (!ID.test(id)) return undefined
      const first = Number(id.slice(0, FIRST_DIGITS))
      const rest = Number(`1${id.slice(FIRST_DIGITS)}`)
      let found: RoutedEntry | undefined
      for (let slot = rests.indexOf(rest); slot >= 0; slot = rests.indexOf(rest, slot + 1)) {
        if (firsts[slot] !== first) continue
        const [at, sessions] = [ats[slot]!, puts[slot]!]
        found = found ? { at: Math.min(found.at, at), sessions: Math.max(found.sessions, sessions) } : { at, sessions }
      }
      return found
    },
    get since() {
      return since
    },
  }
}

const isDigit = (byte: number): boolean => byte >= ZERO && byte < ZERO + 10
