/** The rule about pushes: shown to each of their users, unless their time is over or a newer one has taken their place. Pure. */
import { groupBy } from '@tidings/service'
import { isShort } from '../load/pusher.js'
import { mayStand } from './folds.js'
import { type Indexed, keyOf, type Seen, type Send } from './indexed.js'
import type { Rule } from './rule.js'

type PushSend = Send & { doing: { what: 'push'; ttl?: number; collapseKey?: string } }

/** How far the clocks of a server and of its reader may be apart. */
const CLOCK_MS = 1_000

export const pushed: Rule = {
  name: 'pushed',
  promise: 'a push says what it said until its time is over or one with its key has taken its place, and then no more',
  *check(indexed) {
    const pushes = new Map(
      [...indexed.sends.values()]
        .filter((send): send is PushSend => send.doing?.what === 'push')
        .map((send) => [send.key, send]),
    )
    const rivals = groupBy([...pushes.values()].filter(mayStand), placeOf)
    for (const { name, kind, holdings } of indexed.places)
      for (const { entries } of holdings.values()) {
        const newest = newestOf(entries, pushes)
        for (const seen of entries) {
          const push = pushes.get(keyOf(seen.conv, seen.from, seen.clientId))
          if (!push) continue
          const what = `${name} has ${seen.clientId} of ${seen.conv} at ${seen.seq}`
          const wrong = kind === 'final' ? atTheEnd(indexed, name, push, seen, newest) : undefined
          if (wrong !== undefined) yield `${what} ${wrong}`
          else if (seen.shown.type === 'collapsed' && (rivals.get(placeOf(push))?.length ?? 0) < 2)
            yield `${what} as collapsed, and nothing else has its key`
          else if (seen.shown.type === 'expired' && !isShort(push.doing))
            yield `${what} as expired, long before its time`
        }
      }
  },
}

const placeOf = ({ conv, doing }: PushSend): string => `${conv} ${doing.collapseKey ?? ''}`

/** Feed and key to the seq of the newest push with it. */
function newestOf(entries: readonly Seen[], pushes: ReadonlyMap<string, PushSend>): Map<string, number> {
  const newest = new Map<string, number>()
  for (const { conv, from, clientId, seq } of entries) {
    const push = pushes.get(keyOf(conv, from, clientId))
    if (push?.doing.collapseKey !== undefined) newest.set(placeOf(push), Math.max(seq, newest.get(placeOf(push)) ?? 0))
  }
  return newest
}

function atTheEnd(
  { plan }: Indexed,
  place: string,
  push: PushSend,
  { seq, shown: { type, expiresAt, readAt } }: Seen,
  newest: ReadonlyMap<string, number>,
): string | undefined {
  if (push.doing.collapseKey !== undefined) {
    const last = newest.get(placeOf(push))!
    if (type === 'collapsed') return seq === last ? 'as collapsed, and it is the newest with its key' : undefined
    // After Redis has lost data one may stay.
    return seq < last && !plan.voids ? `whole, and that at ${last} has taken its place` : undefined
  }
  // The row stays until retention takes it.
  if (place === 'mysql' || type === 'expired' || expiresAt === undefined || readAt === undefined) return undefined
  return expiresAt < readAt - CLOCK_MS ? 'whole, and its time is over' : undefined
}
