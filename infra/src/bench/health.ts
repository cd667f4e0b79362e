/** How processes hold up over time: their memory, their open files, and how long their event loops keep what is due waiting. */
import { readdirSync } from 'node:fs'
import { codeOf, Failure } from '../failure.js'
import type { Levels } from './figures.js'
import { residentMib, summarize } from './memory.js'
import type { ServerProcess } from './order.js'

const EVERY_MS = 1_000
/** The generator: its connections are open files of the api as well. */
export const LOAD = '(load)'
const DELAY = /^nodejs_eventloop_lag_p99_seconds(?:\{[^}]*\})? (\S+)$/m

type Sample = Record<string, number>

/** Looks every second. */
export class HealthWatch {
  readonly #memory: Sample[] = []
  readonly #handles: Sample[] = []
  readonly #delay: Sample[] = []
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void>
  #failure: unknown

  constructor(private readonly processes: readonly ServerProcess[]) {
    this.#looking = this.#look()
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() => this.#look())
    }, EVERY_MS)
  }

  /** @throws when a process has ended meanwhile */
  async stop(): Promise<{ memory: Levels; handles: Levels; delay: Levels }> {
    clearInterval(this.#timer)
    await this.#looking
    if (this.#failure !== undefined) throw this.#failure
    return { memory: summarize(this.#memory), handles: summarize(this.#handles), delay: summarize(this.#delay) }
  }

  async #look(): Promise<void> {
    try {
      this.#memory.push(residentMib(this.processes))
      this.#handles.push(openFiles([...this.processes, { name: LOAD, pid: process.pid }]))
      this.#delay.push(await delays(this.processes))
    } catch (error) {
      this.#failure ??= error
    }
  }
}

/** By process name. A process of another account is left out: the kernel does not show us its files. */
export function openFiles(processes: readonly ServerProcess[]): Sample {
  const found: Sample = {}
  for (const { name, pid } of processes) {
    try {
      found[name] = (found[name] ?? 0) + readdirSync(`/proc/${pid}/fd`).length
    } catch (error) {
      if (codeOf(error) !== 'EACCES' && codeOf(error) !== 'EPERM') throw error
    }
  }
  return found
}

/** The longest of each app's processes, in ms. The apps begin anew after each answer. */
async function delays(processes: readonly ServerProcess[]): Promise<Sample> {
  const found: Sample = {}
  await Promise.all(
    processes.map(async ({ name, ops }) => {
      if (ops === undefined) return
      const answer = await fetch(`${ops}/metrics`, { signal: AbortSignal.timeout(10 * EVERY_MS) })
      const ms = delayOf(await answer.text())
      if (ms !== undefined) found[name] = Math.max(found[name] ?? 0, ms)
    }),
  )
  return found
}

/** The p99 of the event loop's delay, in ms, from Prometheus' text; nothing when there was no time to measure one. @throws when an app tells none */
export function delayOf(metrics: string): number | undefined {
  const seconds = DELAY.exec(metrics)?.[1]
  if (seconds === undefined) throw new Failure('An app does not tell the delay of its event loop.')
  return Number.isNaN(Number(seconds)) ? undefined : Number(seconds) * 1_000
}
