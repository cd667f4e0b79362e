/** Resident memory of the servers while something runs, looked at every second. */
import { readResident } from './cpu.js'
import type { Levels } from './figures.js'
import type { ServerProcess } from './order.js'

const EVERY_MS = 1_000
const MINUTE = 60

/** Samples in MiB, by process name. */
export class MemoryWatch {
  readonly #samples: Record<string, number>[] = []
  readonly #timer: NodeJS.Timeout

  /** @param processes may grow meanwhile */
  constructor(private readonly processes: readonly ServerProcess[]) {
    this.#look()
    this.#timer = setInterval(() => this.#look(), EVERY_MS)
  }

  #look(): void {
    this.#samples.push(residentMib(this.processes))
  }

  stop(): Levels {
    clearInterval(this.#timer)
    return summarize(this.#samples)
  }
}

/** MiB resident by process name. */
export const residentMib = (processes: readonly ServerProcess[]): Record<string, number> =>
  Object.fromEntries(Object.entries(readResident(processes)).map(([name, kib]) => [name, kib / 1_024]))

/**
 * The most that each process had; and the mean of the first minute against that of the last one, or of the first and last third where
 * there are fewer than three minutes.
 */
export function summarize(samples: readonly Record<string, number>[]): Levels {
  const part = Math.max(1, Math.min(MINUTE, Math.floor(samples.length / 3)))
  const most: Record<string, number> = {}
  for (const sample of samples)
    for (const [name, mib] of Object.entries(sample)) most[name] = Math.max(most[name] ?? 0, mib)
  return { most, first: meanOf(samples.slice(0, part)), last: meanOf(samples.slice(-part)) }
}

function meanOf(samples: readonly Record<string, number>[]): Record<string, number> {
  const sums = new Map<string, { sum: number; count: number }>()
  for (const sample of samples) {
    for (const [name, mib] of Object.entries(sample)) {
      const known = sums.get(name) ?? { sum: 0, count: 0 }
      sums.set(name, { sum: known.sum + mib, count: known.count + 1 })
    }
  }
  return Object.fromEntries([...sums].map(([name, { sum, count }]) => [name, sum / count]))
}
