/**
 * Everything that has frames on their way, sent once at the end of the turn of the event loop, or when that takes long: what a turn
 * brought for a socket, by however many calls and batches, is one write.
 */
export interface Flushable {
  flush(): void
}

/** A turn in which thousands of sockets close may take a second: what is due before waits no longer than this. */
const LATE_MS = 10

let due: Flushable[] = []
/** performance.now() at which the first of them became due. */
let since = 0

function flushDue(): void {
  const all = due
  due = []
  for (const one of all) {
    try {
      one.flush()
    } catch (error) {
      // A bug, and as loud as one elsewhere; but the others are not left behind for it.
      setImmediate(() => {
        throw error
      })
    }
  }
}

/** Flushes it at the end of this turn. It is to be given once for what it gathers. */
export function flushSoon(one: Flushable): void {
  if (due.push(one) > 1) return
  since = performance.now()
  setImmediate(flushDue)
}

/** To be called with each socket that closes: flushes what the end of the turn would bring too late. */
export function flushLate(now = performance.now()): void {
  if (due.length > 0 && now - since > LATE_MS) flushDue()
}
