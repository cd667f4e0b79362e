/**
 * Everything that has frames on their way, sent once at the end of the turn of the event loop: what the turn brought for a socket, by
 * however many calls and batches, is one write.
 */
export interface Flushable {
  flush(): void
}

let due: Flushable[] = []

function flushDue(): void {
  const all = due
  due = []
  for (const one of all) one.flush()
}

/** Flushes it at the end of this turn. It is to be given once for what it gathers. */
export function flushSoon(one: Flushable): void {
  if (due.push(one) === 1) setImmediate(flushDue)
}
