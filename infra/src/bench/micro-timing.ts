/** Times small loops against a reference loop of the same run: the machine's speed is in both, and the ratio is of the code alone. */
import { middleBy } from './statistics.js'

export interface Loop {
  name: string
  /** Units of work that one run does. */
  units: number
  /** @returns something of the result */
  run(): number | Promise<number>
}

export interface LoopFigures {
  name: string
  /** CPU nanoseconds per unit. */
  ns: number
  /** By the reference loop's, measured right before and after. */
  ratio: number
}

export interface Timing {
  warmUpMs: number
  /** Of CPU, per loop and round. */
  sliceMs: number
  rounds: number
}

/** Work of the kinds that the real loops do, native and compiled: parsing, a map, strings. It must never change: ratios are stored. */
export const REFERENCE: Loop = {
  name: 'reference',
  units: 1,
  run() {
    const { rows } = JSON.parse(REFERENCE_TEXT) as { rows: { id: string; n: number }[] }
    const byId = new Map<string, string>()
    for (const { id, n } of rows) byId.set(id, `{"id":"${id}","n":${n}}`)
    let length = 0
    for (const { id } of rows) length += byId.get(id)!.length
    return length
  },
}
const REFERENCE_TEXT = JSON.stringify({ rows: Array.from({ length: 20 }, (_, i) => ({ id: `id-${i}`, n: i * 7_919 })) })

/**
 * Every round times every loop between two times of the reference; the middle of the rounds is answered. What is counted is CPU
 * time: a busy machine takes the core away, and that is no cost of the loop.
 */
export async function timeLoops(loops: readonly Loop[], timing: Timing): Promise<LoopFigures[]> {
  for (const loop of [REFERENCE, ...loops]) await slice(loop, timing.warmUpMs)
  const rounds = new Map<Loop, { ns: number; ratio: number }[]>(loops.map((loop) => [loop, []]))
  for (let round = 0; round < timing.rounds; round++) {
    let before = await slice(REFERENCE, timing.sliceMs)
    for (const loop of loops) {
      const ns = await slice(loop, timing.sliceMs)
      const after = await slice(REFERENCE, timing.sliceMs)
      rounds.get(loop)!.push({ ns, ratio: (2 * ns) / (before + after) })
      before = after
    }
  }
  return loops.map((loop) => ({ name: loop.name, ...middleBy(rounds.get(loop)!, ({ ratio }) => ratio) }))
}

/** CPU ns of a run of the reference loop, now. */
export async function timeReference(): Promise<number> {
  await slice(REFERENCE, REFERENCE_MS)
  return slice(REFERENCE, REFERENCE_MS)
}
const REFERENCE_MS = 150

let kept = 0

/** CPU nanoseconds per unit while it runs for so long. */
async function slice({ units, run }: Loop, ms: number): Promise<number> {
  const wantedUs = ms * 1_000
  const began = process.cpuUsage()
  // Looking at the clock is a system call, and a run may take less: so many runs between two looks that they hide it.
  for (let runs = 0, atOnce = 1; ; ) {
    for (let i = 0; i < atOnce; i++) {
      const result = run()
      kept += typeof result === 'number' ? result : await result
    }
    runs += atOnce
    const { user, system } = process.cpuUsage(began)
    if (user + system >= wantedUs) return ((user + system) * 1_000) / (runs * units)
    if (user + system < wantedUs / 8) atOnce *= 2
  }
}

/** What all loops have added up to. */
export const keptResults = (): number => kept
