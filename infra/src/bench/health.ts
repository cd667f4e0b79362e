/** How processes hold up over time: their memory, their open files, and how long their event loops keep what is due waiting. */
import { readdirSync } from 'node:fs'
import { codeOf, Failure } from '../failure.js'
import type { Levels } from './figures.js'
import { residentMib, summarize } from './memory.js'
import type { ServerProcess } from './order.js'

const EVERY_MS = 1_000
/** The generator: its connections are open files of the api as well. */
export const LOAD = '(load)'
const RESOURCE = /^nodejs_active_resources\{([^}]*)\} (\d+)$/gm
const DELAY = /^nodejs_eventloop_lag_p99_seconds(?:\{[^}]*\})? (\S+)$/m

type Sample = Record<string, number>

/** Looks every second. */
export class HealthWatch {
  readonly #memory: Sample[] = []
  readonly #handles: Sample[] = []
  readonly #resources: Sample[] = []
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
  async stop(): Promise<{ memory: Levels; handles: Levels; resources: Levels; delay: Levels }> {
    clearInterval(this.#timer)
    await this.#looking
    if (this.#failure !== undefined) throw this.#failure
    return {
      memory: summarize(this.#memory),
      handles: summarize(this.#handles),
      resources: summarize(this.#resources),
      delay: summarize(this.#delay),
    }
  }

  async #look(): Promise<void> {
    try {
      this.#memory.push(residentMib(this.processes))
      this.#handles.push(openFiles([...this.processes, { name: LOAD, pid: process.pid }]))
      const { delay, resources } = await askApps(this.processes)
      this.#delay.push(delay)
      this.#resources.push(resources)
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

/** By app: the longest delay of its processes, in ms, and all their resources. The apps begin anew after each answer. */
async function askApps(processes: readonly ServerProcess[]): Promise<{ delay: Sample; resources: Sample }> {
  const delay: Sample = {}
  const resources: Sample = {}
  await Promise.all(
    processes.map(async ({ name, ops }) => {
      if (ops === undefined) return
      const answer = await fetch(`${ops}/metrics`, { signal: AbortSignal.timeout(10 * EVERY_MS) })
      const metrics = await answer.text()
      const ms = delayOf(metrics)
      if (ms !== undefined) delay[name] = Math.max(delay[name] ?? 0, ms)
      resources[name] = (resources[name] ?? 0) + resourcesOf(metrics)
    }),
  )
  return { delay, resources }
}

/** Active resources from Prometheus' text: timers, watchers and requests; sockets are open files. */
export function resourcesOf(metrics: string): number {
  let sum = 0
  for (const [, labels, count] of metrics.matchAll(RESOURCE)) if (!/Socket|TCP/.test(labels!)) sum += Number(count)
  return sum
}

/** The p99 of the event loop's delay, in ms, from Prometheus' text; nothing when there was no time to measure one. @throws when an app tells none */
export function delayOf(metrics: string): number | undefined {
  const seconds = DELAY.exec(metrics)?.[1]
  if (seconds === undefined) throw new Failure('An app does not tell the delay of its event loop.')
  return Number.isNaN(Number(seconds)) ? undefined : Number(seconds) * 1_000
}
