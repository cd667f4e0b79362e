/** Does the faults one after the other, proves them, mends what they leave, and measures how long it takes until all is well. */
import type { Cluster } from './cluster/cluster.js'
import type { Fault, FaultContext } from './faults/fault.js'
import type { History } from './history.js'
import type { Chance } from './load/chance.js'
import type { Crowd } from './load/crowd.js'
import type { Message } from './load/message.js'
import type { FaultLine } from './plan.js'
import { inTime, pause, within } from './until.js'

/** Beyond the bound, the wait goes on for this long, so that the figure is known. */
const PATIENCE_MS = 30_000
/** No fault takes that long by itself. */
const LONGEST_MS = 120_000

export interface Nemesis {
  strike(fault: Fault): Promise<void>
}

/** @param pace factor on how long faults last: 1 is the full length */
export function createNemesis(deps: {
  cluster: Cluster
  crowd: Crowd
  history: History
  chance: Chance
  pace: number
  slack: number
  say(line: string): void
  signal?: AbortSignal | undefined
}): Nemesis {
  const { cluster, crowd, history, chance, pace, slack, say, signal } = deps

  return {
    async strike(fault) {
      const patience = fault.boundMs * slack + PATIENCE_MS
      const { row, name, boundMs, available, tailLost = false } = fault
      const tell = (phase: FaultLine['phase'], more: Partial<FaultLine> = {}, draft: object = {}): void => {
        const data: FaultLine = { row, name, phase, ...more }
        history.record({ proc: 'nemesis', type: phase === 'failed' ? 'fail' : 'info', f: 'fault', data, ...draft })
      }
      let healedAt: number | undefined
      let recovered = false
      const context: FaultContext = {
        cluster,
        crowd,
        chance,
        hold: (ms) => pause(ms * pace),
        bit: (proof) => tell('bit', {}, { detail: proof }),
        poison: (entry) => tell('poison', {}, entry),
        healed() {
          if (healedAt !== undefined) return
          healedAt = performance.now()
          tell('heal')
        },
        async recovered() {
          context.healed()
          const fresh = await crowd.probe(patience)
          recovered = true
          if (fresh === undefined) tell('failed', {}, { detail: 'no fresh message came through' })
          else if (!(await within(() => areStored(cluster, fresh), patience)))
            tell('failed', {}, { detail: 'a fresh message did not get into MySQL' })
          else tell('recovered', { recoveryMs: Math.round(performance.now() - healedAt!) })
        },
        shown: ({ message }, ms) =>
          within(() => {
            const concerned = crowd.devices.filter(({ live, options }) => live && options.mine.has(message.conv))
            return concerned.every((device) => device.has(message.from, message.clientId))
          }, ms),
      }
      say(`${row}: ${name}`)
      tell('inject', { available, tailLost, boundMs })
      try {
        // A product that never answers must not hang the prover: recovery is waited for twice, accepted and stored.
        await inTime('the fault', fault.run(context), LONGEST_MS * Math.max(pace, 1) + 2 * patience, signal)
      } catch (error) {
        tell('failed', {}, { detail: error instanceof Error ? error.message : String(error) })
      }
      await mend(cluster)
      if (!recovered && !signal?.aborted) await context.recovered()
    },
  }
}

async function areStored(cluster: Cluster, messages: readonly Message[]): Promise<boolean> {
  const found = await Promise.all(
    messages.map(({ conv, from, clientId }) =>
      cluster
        .sql('SELECT 1 FROM entries WHERE conversation = ? AND from_user = ? AND client_id = ? LIMIT 1', [
          conv,
          from,
          clientId,
        ])
        // Away or full still: not stored, as far as anybody can tell.
        .catch(() => []),
    ),
  )
  return found.every((rows) => rows.length > 0)
}

/** What a fault left broken, or had no time to mend. */
export async function mend(cluster: Cluster): Promise<void> {
  cluster.healLinks()
  for (const store of Object.values(cluster.stores)) store.thaw()
  for (const app of cluster.apps.values()) app.signal('SIGCONT')
  await Promise.all([...cluster.apps.values()].filter(({ ended }) => ended !== undefined).map((app) => app.start()))
}
