/** A history by conversation and by place, made once for all rules. Pure. */
import { rangesBetween, type SeqRange } from '@tidings/protocol'
import type { HistoryEvent } from '../history.js'
import type { ShownLine } from '../load/shown.js'
import type { Doing, Plan } from '../plan.js'
import { addFault, type FaultRun } from './fault-runs.js'

/** An entry as one place holds it. */
export interface Seen {
  conv: string
  seq: number
  id: string
  from: string
  clientId: string
  /** Of its text; '' where there is none. */
  bodyHash: string
  /** `text`, if nothing else is said. */
  shown: ShownLine
}

/** One message, change or push of one sender, over all its attempts. */
export interface Send {
  key: string
  /** Who tells of it first. */
  proc: string
  /** Undefined for a message. */
  doing: Doing | undefined
  conv: string
  from: string
  clientId: string
  bodyHash: string
  /** When it was first tried. */
  invokedAt: number
  accepted: Accepted[]
  refused: number
  unknown: number
  /** When it was about to be sent again, because it was gone. */
  again: number[]
  /** Codes of the refusals. */
  codes: string[]
}

export interface Accepted {
  mono: number
  id: string
  /** Of a push: where the final reads have it, for its answer does not tell. NaN when they do not. */
  seq: number
}

/** What a place holds of one conversation. */
export interface Holding {
  /** In the order in which they were shown or read. */
  entries: Seen[]
  voids: [number, number][]
}

/** A device's own record, or a final read: everything of its conversations should be in it. */
export interface Place {
  name: string
  kind: 'device' | 'final'
  /** Whose it is; undefined for MySQL. */
  user: string | undefined
  holdings: Map<string, Holding>
  /** Seqs up to here need not be here. */
  starts: Map<string, number>
}

export interface Indexed {
  plan: Plan
  events: readonly HistoryEvent[]
  sends: Map<string, Send>
  /** The same, without changes and pushes. */
  messages: Send[]
  places: Place[]
  /** The highest seq that anything told of, by conversation. */
  heads: Map<string, number>
  faults: FaultRun[]
  /** `<conversation> <seq>` of entries that were made so that they can never be stored. */
  poison: Set<string>
  /** clientIds and ids of such. */
  poisonNames: Set<string>
}

export const keyOf = (conv: string, from: string, clientId: string): string => `${conv} ${from} ${clientId}`
export const userOf = (proc: string): string => proc.slice(0, proc.indexOf('/'))

/** @throws Error when the history has no plan: then it is not one of ours */
export function indexHistory(events: readonly HistoryEvent[]): Indexed {
  const plan = events.find(({ f }) => f === 'plan')?.data as Plan | undefined
  if (!plan) throw new Error('the history has no plan line')
  const indexed: Indexed = {
    plan,
    events,
    sends: new Map(),
    messages: [],
    places: [],
    heads: new Map(),
    faults: [],
    poison: new Set(),
    poisonNames: new Set(),
  }
  const places = new Map<string, Place>()
  for (const name of Object.keys(plan.devices)) {
    const user = userOf(name)
    const place: Place = { name, kind: 'device', user, holdings: new Map(), starts: new Map() }
    for (const [conv, users] of Object.entries(plan.members))
      if (users.includes(user)) place.holdings.set(conv, { entries: [], voids: [] })
    places.set(name, place)
  }
  for (const event of events) add(indexed, places, event)
  indexed.places = [...places.values()]
  indexed.messages = [...indexed.sends.values()].filter(({ doing }) => doing === undefined)
  nameStubs(indexed)
  placePushes(indexed)
  for (const place of indexed.places) if (plan.devices[place.name] === 'later') setStarts(indexed, place)
  return indexed
}

function add(indexed: Indexed, places: Map<string, Place>, event: HistoryEvent): void {
  const { f, conv = '' } = event
  if (f === 'send') addSend(indexed, event)
  else if (f === 'app' || f === 'read') {
    holding(places, event, f === 'app' ? 'device' : 'final').entries.push(seenOf(event))
    raise(indexed, conv, event.seq!)
  } else if (f === 'head') {
    holding(places, event, 'final')
    raise(indexed, conv, event.seq!)
  } else if (f === 'void') {
    holding(places, event, 'final').voids.push(event.range!)
    raise(indexed, conv, event.range![1])
  } else if (f === 'again') {
    indexed.sends.get(keyOf(conv, event.from ?? '', event.clientId ?? ''))?.again.push(event.mono)
  } else if (f === 'fault') addFault(indexed, event)
}

function holding(places: Map<string, Place>, event: HistoryEvent, kind: Place['kind']): Holding {
  let place = places.get(event.proc)
  if (!place) {
    place = { name: event.proc, kind, user: event.user, holdings: new Map(), starts: new Map() }
    places.set(event.proc, place)
  }
  let held = place.holdings.get(event.conv!)
  if (!held) {
    held = { entries: [], voids: [] }
    place.holdings.set(event.conv!, held)
  }
  return held
}

/** What has expired does not tell its key: whoever saw it before does, and MySQL. */
function nameStubs({ places }: Indexed): void {
  const entries = places.flatMap(({ holdings }) => [...holdings.values()].flatMap(({ entries }) => entries))
  const names = new Map(entries.filter(({ clientId }) => clientId !== '').map(({ id, clientId }) => [id, clientId]))
  for (const seen of entries) if (seen.clientId === '') seen.clientId = names.get(seen.id) ?? ''
}

/** Where a push stands is told by the final reads. */
function placePushes({ sends, places }: Indexed): void {
  const found = new Map<string, Seen>()
  for (const { kind, holdings } of places)
    if (kind === 'final')
      for (const { entries } of holdings.values())
        for (const seen of entries) found.set(keyOf(seen.conv, seen.from, seen.clientId), seen)
  for (const { key, doing, accepted } of sends.values()) {
    const seen = doing?.what === 'push' ? found.get(key) : undefined
    if (seen) for (const one of accepted) Object.assign(one, { id: seen.id, seq: seen.seq })
  }
}

const seenOf = ({ conv, seq, id, from, clientId, bodyHash, data }: HistoryEvent): Seen => ({
  conv: conv!,
  seq: seq!,
  id: id!,
  from: from ?? '',
  clientId: clientId ?? '',
  bodyHash: bodyHash ?? '',
  shown: (data as ShownLine | undefined) ?? { type: 'text' },
})

function raise(indexed: Indexed, conv: string, seq: number): void {
  if (seq > (indexed.heads.get(conv) ?? 0)) indexed.heads.set(conv, seq)
}

function addSend(indexed: Indexed, event: HistoryEvent): void {
  const { proc, conv = '', from = '', clientId = '', bodyHash = '', type, mono } = event
  const doing = event.data as Doing | undefined
  const key = keyOf(conv, from, clientId)
  let send = indexed.sends.get(key)
  if (!send) {
    const told = { accepted: [], refused: 0, unknown: 0, again: [], codes: [] }
    send = { key, proc, doing, conv, from, clientId, bodyHash, invokedAt: mono, ...told }
    indexed.sends.set(key, send)
  }
  if (type === 'ok') {
    send.accepted.push({ mono, id: event.id ?? '', seq: event.seq ?? Number.NaN })
    raise(indexed, conv, event.seq ?? 0)
  } else if (type === 'fail') {
    send.refused++
    send.codes.push(event.detail ?? '')
  } else if (type === 'info') send.unknown++
  const fault = indexed.faults.at(-1)
  if (!fault || fault.recoveryMs !== undefined || doing) return
  if (type === 'ok') fault.sends.ok++
  else if (type === 'info') fault.sends.unknown++
}

/** A device that came later begins where the first that it was told says, or at the head; the rule on holes judges whether it might. */
function setStarts({ heads }: Indexed, place: Place): void {
  for (const [conv, { entries, voids }] of place.holdings) {
    const first = [...entries.map(({ seq }) => seq), ...voids.map(([from]) => from)].reduce(
      (least, seq) => Math.min(least, seq),
      Number.POSITIVE_INFINITY,
    )
    place.starts.set(conv, Number.isFinite(first) ? first - 1 : (heads.get(conv) ?? 0))
  }
}

/** What of `first` to `last` is neither among the seqs nor in a void. A void may be thousands of millions long: nothing is counted out. */
export function holesIn(
  first: number,
  last: number,
  seqs: readonly number[],
  voids: readonly (readonly [number, number])[],
): SeqRange[] {
  const taken = [...seqs.map((seq) => ({ from: seq, to: seq })), ...voids.map(([from, to]) => ({ from, to }))]
  return rangesBetween(
    { from: first, to: last },
    taken.filter(({ to }) => to >= first).sort((one, other) => one.from - other.from),
  ).filter(({ from, to }) => from <= to)
}

/** Ranges for people: `3-5, 9`. */
export function told(ranges: readonly SeqRange[]): string {
  const parts = ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`))
  return parts.length > 12 ? `${parts.slice(0, 12).join(', ')} and more` : parts.join(', ')
}
