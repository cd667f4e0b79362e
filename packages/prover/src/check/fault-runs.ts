/** What became of each fault, as its lines tell. Pure. */
import type { HistoryEvent } from '../history.js'
import type { FaultLine } from '../plan.js'
import type { Indexed } from './indexed.js'

/** From injecting to recovery, or as far as it went. */
export interface FaultRun {
  row: string
  name: string
  injectedAt: number
  healedAt: number | undefined
  available: boolean
  tailLost: boolean
  bit: string | undefined
  bitAt: number | undefined
  failure: string | undefined
  recoveryMs: number | undefined
  recoveredAt: number | undefined
  boundMs: number
  /** Answers to sends from injecting to recovery. */
  sends: { ok: number; unknown: number }
}

export function addFault(indexed: Pick<Indexed, 'faults' | 'poison' | 'poisonNames'>, event: HistoryEvent): void {
  const line = event.data as FaultLine
  const last = indexed.faults.at(-1)
  if (line.phase === 'inject') {
    indexed.faults.push({
      row: line.row,
      name: line.name,
      injectedAt: event.mono,
      healedAt: undefined,
      available: line.available ?? false,
      tailLost: line.tailLost ?? false,
      bit: undefined,
      bitAt: undefined,
      failure: undefined,
      recoveryMs: undefined,
      recoveredAt: undefined,
      boundMs: line.boundMs ?? Number.POSITIVE_INFINITY,
      sends: { ok: 0, unknown: 0 },
    })
  } else if (line.phase === 'poison') {
    if (event.seq !== undefined) indexed.poison.add(`${event.conv} ${event.seq}`)
    for (const name of [event.clientId, event.id]) if (name) indexed.poisonNames.add(name)
  } else if (last) {
    if (line.phase === 'bit') {
      last.bit = event.detail ?? ''
      last.bitAt = event.mono
    }
    if (line.phase === 'heal') last.healedAt = event.mono
    if (line.phase === 'failed') last.failure = event.detail ?? ''
    if (line.phase === 'recovered') {
      last.recoveryMs = line.recoveryMs
      last.recoveredAt = event.mono
    }
  }
}
