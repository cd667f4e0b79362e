/** Judges a history. Pure: no clock, no cluster; the same history gives the same verdict. */
import type { HistoryEvent } from '../history.js'
import * as changes from './changes.js'
import * as entries from './entries.js'
import type { FaultRun } from './fault-runs.js'
import * as faults from './faults.js'
import { indexHistory } from './indexed.js'
import * as order from './order.js'
import { pushed } from './pushes.js'
import type { Rule } from './rule.js'

export const RULES: readonly Rule[] = [
  entries.accepted,
  entries.kept,
  entries.refused,
  entries.expected,
  entries.once,
  entries.sameEverywhere,
  entries.noHole,
  entries.voids,
  changes.recalled,
  changes.edited,
  changes.reacted,
  changes.changes,
  pushed,
  order.rising,
  order.realTime,
  order.privacy,
  order.honestPages,
  order.deadLetters,
  faults.bit,
  faults.recovery,
  faults.available,
  faults.bounded,
  faults.notVacuous,
]

export interface Violation {
  rule: string
  text: string
}

export interface Verdict {
  violations: Violation[]
  faults: FaultRun[]
  figures: {
    /** Messages that were tried, and what became of them. */
    tried: number
    accepted: number
    refused: number
    unknown: number
    /** Changes and pushes that were accepted, one of each user, and those that were refused. */
    changes: number
    pushes: number
    changesRefused: number
    /** Entries that devices showed, and repeats on the wire that they dropped. */
    shown: number
    repeats: number
    places: number
    pages: number
  }
}

/** @throws Error when it is not a history of ours */
export function check(events: readonly HistoryEvent[]): Verdict {
  const indexed = indexHistory(events)
  const violations = RULES.flatMap((rule) => [...rule.check(indexed)].map((text) => ({ rule: rule.name, text })))
  const sends = indexed.messages
  const doings = [...indexed.sends.values()].filter(({ doing }) => doing)
  const accepted = doings.filter(({ accepted }) => accepted.length > 0)
  const pushes = accepted.filter(({ doing }) => doing?.what === 'push').length
  const count = (f: HistoryEvent['f']): number => events.reduce((sum, event) => sum + (event.f === f ? 1 : 0), 0)
  const shown = count('app')
  return {
    violations,
    faults: indexed.faults,
    figures: {
      tried: sends.length,
      accepted: sends.filter(({ accepted }) => accepted.length > 0).length,
      refused: sends.filter(({ accepted, unknown }) => accepted.length === 0 && unknown === 0).length,
      unknown: sends.filter(({ accepted, unknown }) => accepted.length === 0 && unknown > 0).length,
      changes: accepted.length - pushes,
      pushes,
      changesRefused: doings.filter(({ accepted, unknown }) => accepted.length === 0 && unknown === 0).length,
      shown,
      // A final read shows what it gets under another name.
      repeats: events.filter(({ f, proc }) => f === 'recv' && Object.hasOwn(indexed.plan.devices, proc)).length - shown,
      places: indexed.places.length,
      pages: count('page'),
    },
  }
}
