/** The rules about entries: what must be where, once, whole, in order, and nowhere else. Pure. */
import { groupBy } from '@tidings/service'
import { isShort } from '../load/pusher.js'
import { matcher } from './changes.js'
import {
  type Holding,
  holesIn,
  type Indexed,
  keyOf,
  type Place,
  type Seen,
  type Send,
  told,
  userOf,
} from './indexed.js'
import type { Rule } from './rule.js'

/** Everything of a conversation that a place should hold. */
function* entitled({ places, plan }: Indexed): Generator<{ place: Place; conv: string; held: Holding; start: number }> {
  for (const place of places)
    for (const [conv, held] of place.holdings) {
      if (place.user !== undefined && !plan.members[conv]?.includes(place.user)) continue
      yield { place, conv, held, start: place.starts.get(conv) ?? 0 }
    }
}

function* allSeen({ places }: Indexed): Generator<{ place: Place; seen: Seen }> {
  for (const place of places)
    for (const { entries } of place.holdings.values()) for (const seen of entries) yield { place, seen }
}

export const accepted: Rule = {
  name: 'accepted',
  promise: 'what was accepted is on every device, in MySQL, and in every history',
  *check(indexed) {
    const isGivenUp = givenUp(indexed)
    const byConv = groupBy(
      [...indexed.sends.values()].filter((send) => send.accepted.length > 0 && !isGivenUp(send)),
      ({ conv }) => conv,
    )
    for (const { place, conv, held, start } of entitled(indexed)) {
      const there = new Set(held.entries.map((seen) => keyOf(conv, seen.from, seen.clientId)))
      const missing = (byConv.get(conv) ?? []).filter(
        ({ key, accepted }) =>
          // Of a push that is nowhere nobody knows the seq.
          !there.has(key) && accepted.every(({ seq }) => !(seq <= start) && !indexed.poison.has(`${conv} ${seq}`)),
      )
      if (missing.length === 0) continue
      const seqs = missing.map((send) => send.accepted.at(-1)!.seq).sort((a, b) => a - b)
      const nowhere = missing.filter(({ accepted }) => Number.isNaN(accepted.at(-1)!.seq))
      if (nowhere.length > 0) {
        yield `${place.name} lacks ${nowhere.map(({ clientId }) => clientId).join(', ')} of ${conv}, accepted and nowhere to be found`
        continue
      }
      yield `${place.name} lacks ${missing.length} accepted entries of ${conv}: seq ${told(seqs.map((seq) => ({ from: seq, to: seq })))}`
    }
  },
}

/**
 * What a lost tail took and nobody can put back: a change of what was recalled meanwhile, or that is so already, when it is tried again; a
 * push that was meant for some seconds.
 */
function givenUp(indexed: Indexed): (send: Send) => boolean {
  if (!indexed.plan.tailLost) return () => false
  const names = new Map([...allSeen(indexed)].map(({ seen }) => [seen.id, keyOf(seen.conv, seen.from, seen.clientId)]))
  return ({ key, doing, refused, accepted }) => {
    if (!doing) return false
    if (doing.what === 'push') return isShort(doing)
    return refused > 0 || (names.get(accepted.at(-1)!.id) ?? key) !== key
  }
}

/** In this time persist has long stored what it can: what is older is not Redis' to forget. */
const UNSTORED_MS = 1_000

export const kept: Rule = {
  name: 'kept',
  promise: 'only what was accepted while Redis may forget has to be sent again',
  *check({ sends, faults }) {
    const mayForget = faults.filter(({ tailLost }) => tailLost)
    for (const { conv, clientId, accepted, again } of sends.values())
      for (const at of again) {
        const told = accepted.filter(({ mono }) => mono < at).at(-1)
        const lost = mayForget.some(
          ({ injectedAt, recoveredAt = Number.POSITIVE_INFINITY }) =>
            told && injectedAt - UNSTORED_MS < told.mono && told.mono < recoveredAt,
        )
        if (told && !lost)
          yield `${clientId} of ${conv} was accepted at seq ${told.seq} and gone, and no lost tail took it`
      }
  },
}

export const refused: Rule = {
  name: 'refused',
  promise: 'what was refused is nowhere',
  *check(indexed) {
    for (const { place, seen } of allSeen(indexed)) {
      const send = indexed.sends.get(keyOf(seen.conv, seen.from, seen.clientId))
      if (send && send.refused > 0 && send.accepted.length === 0 && send.unknown === 0)
        yield `${place.name} has ${seen.clientId} of ${seen.conv} at ${seen.seq}, which was refused`
    }
  },
}

export const expected: Rule = {
  name: 'expected',
  promise: 'there is no entry that nobody sent, and none with other content',
  *check(indexed) {
    const isAsSent = matcher(indexed)
    for (const { place, seen } of allSeen(indexed)) {
      const send = indexed.sends.get(keyOf(seen.conv, seen.from, seen.clientId))
      const what = `${place.name} has ${seen.clientId || seen.id} of ${seen.conv} at ${seen.seq}`
      if (!send) yield `${what}, which nobody sent`
      else if (!isAsSent(send, seen)) yield `${what} with other content`
    }
  },
}

export const once: Rule = {
  name: 'once',
  promise: 'one clientId is one entry, everywhere',
  *check(indexed) {
    const known = new Map<string, Map<string, string>>()
    const tell = (key: string, id: string, seq: number, where: string): void => {
      const ids = known.get(key) ?? new Map<string, string>()
      known.set(key, ids)
      const identity = `${id}@${seq}`
      if (!ids.has(identity)) ids.set(identity, where)
    }
    // After a lost tail an older answer, and what a device saw, may name the lost place: then only the final reads must agree.
    for (const { key, accepted } of indexed.sends.values())
      if (!indexed.plan.tailLost) for (const { id, seq } of accepted) if (id !== '') tell(key, id, seq, 'the sender')
    for (const { place, seen } of allSeen(indexed))
      if (!indexed.plan.tailLost || place.kind === 'final')
        tell(keyOf(seen.conv, seen.from, seen.clientId), seen.id, seen.seq, place.name)
    for (const [key, ids] of known)
      if (ids.size > 1) yield `${key} is ${[...ids].map(([identity, where]) => `${identity} (${where})`).join(' and ')}`
  },
}

export const sameEverywhere: Rule = {
  name: 'same everywhere',
  promise: 'a seq means the same entry on every device, in MySQL and in every history',
  *check(indexed) {
    const known = new Map<string, { id: string; where: string }>()
    for (const { place, seen } of allSeen(indexed)) {
      const at = `${seen.conv} ${seen.seq}`
      const first = known.get(at)
      if (!first) known.set(at, { id: seen.id, where: place.name })
      else if (first.id !== seen.id) yield `${at} is ${first.id} on ${first.where} and ${seen.id} on ${place.name}`
    }
  },
}

export const noHole: Rule = {
  name: 'no hole',
  promise: 'every seq from the start to the head is an entry or a declared void',
  *check(indexed) {
    const sends = groupBy(indexed.sends.values(), ({ conv }) => conv)
    for (const { place, conv, held, start } of entitled(indexed)) {
      // What was accepted and is missing altogether is the other rule's; what stands elsewhere has left a seq that must be declared.
      const there = new Set(held.entries.map((seen) => keyOf(conv, seen.from, seen.clientId)))
      const missing = (sends.get(conv) ?? []).filter(({ key }) => !there.has(key)).flatMap(({ accepted }) => accepted)
      const seqs = [...held.entries, ...missing].map(({ seq }) => seq)
      const holes = holesIn(start + 1, indexed.heads.get(conv) ?? 0, seqs, held.voids)
      if (holes.length > 0) yield `${place.name} has nothing at seq ${told(holes)} of ${conv}`
      if (start === 0 || place.kind !== 'device') continue
      const acked = ackedBefore(indexed, place)(conv)
      if (start > acked)
        yield `${place.name} began after seq ${start} of ${conv}, and no device of its user had acknowledged beyond ${acked}`
    }
  },
}

/** What the user's devices had acknowledged of a conversation when the device was first ready. */
function ackedBefore({ events }: Indexed, place: Place): (conv: string) => number {
  const ready = events.find(({ f, proc }) => f === 'ready' && proc === place.name)?.mono ?? Number.POSITIVE_INFINITY
  return (conv) =>
    events.reduce(
      (most, { f, proc, mono, seq, conv: of }) =>
        f === 'ack' && of === conv && mono <= ready && userOf(proc) === place.user ? Math.max(most, seq!) : most,
      0,
    )
}

export const voids: Rule = {
  name: 'voids',
  promise: 'a void is declared only after a change of generation or an operator’s act, and never over an entry',
  *check(indexed) {
    const entries = groupBy(
      [...allSeen(indexed)].map(({ place, seen }) => ({ conv: seen.conv, seq: seen.seq, at: place.name })),
      ({ conv }) => conv,
    )
    for (const { place, conv, held } of entitled(indexed))
      for (const [from, to] of held.voids) {
        if (!indexed.plan.voids && !onlyPoison(indexed, conv, from, to))
          yield `${place.name} was told that ${conv} ${from}-${to} is void`
        // A device may still hold what a lost tail took with it.
        if (indexed.plan.tailLost) continue
        for (const { seq, at } of entries.get(conv) ?? [])
          if (from <= seq && seq <= to && !indexed.poison.has(`${conv} ${seq}`))
            yield `${place.name} was told that ${conv} ${seq} is void, and ${at} has an entry there`
      }
  },
}

/** A leap's void is far longer than any list of dead letters. */
const MOST_POISON = 10_000

function onlyPoison({ poison }: Indexed, conv: string, from: number, to: number): boolean {
  if (to - from > MOST_POISON) return false
  for (let seq = from; seq <= to; seq++) if (!poison.has(`${conv} ${seq}`)) return false
  return true
}
