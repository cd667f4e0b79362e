/** The rules about the run itself: that the faults were real, that it recovered in time, and that it proves something. Pure. */
import type { FaultRun } from './fault-runs.js'
import type { Rule } from './rule.js'

export const bit: Rule = {
  name: 'bit',
  promise: 'every fault is proven to have happened, and was healed',
  *check({ faults }) {
    for (const { row, name, bit, failure, healedAt } of faults) {
      if (failure !== undefined) yield `${row} ${name}: ${failure}`
      else if (bit === undefined) yield `${row} ${name} left no trace`
      else if (healedAt === undefined) yield `${row} ${name} was not healed`
    }
  },
}

export const recovery: Rule = {
  name: 'recovery',
  promise: 'a fresh message is accepted, on every live device and in MySQL within the bound after healing',
  *check({ faults, plan }) {
    for (const { row, name, recoveryMs, boundMs, healedAt } of faults) {
      if (healedAt === undefined) continue
      if (recoveryMs === undefined) yield `${row} ${name} never recovered`
      else if (recoveryMs > boundMs * plan.slack)
        yield `${row} ${name} recovered in ${Math.round(recoveryMs)} ms, and may take ${boundMs * plan.slack}`
    }
  },
}

export const available: Rule = {
  name: 'available',
  promise: 'sends are accepted during a fault that must not stop them',
  *check({ faults, messages, plan }) {
    const crowd = messages.filter(({ proc, accepted }) => proc !== plan.prober && accepted.length > 0)
    for (const fault of faults) {
      const stretch = fault.available ? harmful(fault) : undefined
      if (!stretch) continue
      const [from, to] = stretch
      // One may have been lucky.
      if (crowd.filter(({ invokedAt, accepted }) => invokedAt > from && accepted[0]!.mono < to).length < 2)
        yield `nothing that was sent during ${fault.row} ${fault.name} was accepted meanwhile`
    }
  },
}

/** Less than a second without an answer is no outage. */
const LEAST_MS = 1_000

/** From the proof to healing; to recovery, where a fault is over as soon as it is done, as a death is. Some are proven only when they end. */
function harmful({ injectedAt, bitAt, healedAt, recoveredAt }: FaultRun): [number, number] | undefined {
  if (healedAt === undefined || recoveredAt === undefined) return undefined
  const end = healedAt - injectedAt < LEAST_MS ? recoveredAt : healedAt
  const from = bitAt !== undefined && end - bitAt >= LEAST_MS ? bitAt : injectedAt
  return end - from < LEAST_MS ? undefined : [from, end]
}

export const notVacuous: Rule = {
  name: 'not vacuous',
  promise: 'enough was accepted and shown for the run to prove anything',
  *check({ sends, messages, places, plan }) {
    const count = messages.filter(({ accepted }) => accepted.length > 0).length
    if (count < plan.leastAccepted) yield `only ${count} sends were accepted, and ${plan.leastAccepted} are asked for`
    const changes = [...sends.values()].filter(({ doing, accepted }) => doing && accepted.length > 0).length
    if (changes < (plan.leastChanges ?? 0))
      yield `only ${changes} changes and pushes were accepted, and ${plan.leastChanges} are asked for`
    const devices = places.filter(({ kind }) => kind === 'device')
    if (!devices.some(({ holdings }) => [...holdings.values()].some(({ entries }) => entries.length > 0)))
      yield 'no device showed anything'
    if (!places.some(({ name }) => name === 'mysql')) yield 'MySQL was not read'
  },
}

/** A process must stay below this, whatever happens. */
const MOST_BYTES = 512 * 1024 * 1024

export const bounded: Rule = {
  name: 'bounded',
  promise: 'no process grows beyond 512 MiB',
  *check({ events }) {
    const most = new Map<string, number>()
    for (const { f, proc, data } of events)
      if (f === 'sample') most.set(proc, Math.max((data as { rss: number }).rss, most.get(proc) ?? 0))
    for (const [proc, rss] of most) if (rss > MOST_BYTES) yield `${proc} had ${Math.round(rss / 1024 / 1024)} MiB`
  },
}
