/** The simulators of the pure parts, run by path in their long form: `--schedules n`. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { checkout, launch, signal } from '@tidings/infra'

export interface Simulator {
  name: string
  /** The built file, from the root. */
  file: string
}

export const SIMULATORS: readonly Simulator[] = [
  { name: 'cutover', file: 'apps/connect/dist/test/cutover.sim.js' },
  { name: 'ownership', file: 'packages/registry/dist/test/ownership.sim.js' },
  { name: 'generation', file: 'packages/stream/dist/test/generation.sim.js' },
]

export interface Simulated {
  name: string
  schedules: number
  seed: number
  ms: number
  /** What went wrong; it names the seed of the schedule. */
  fault?: string
}

/** One after the other, each a process of its own with a log in the folder. Returns when all have passed or failed, or at the signal. */
export async function simulate(
  options: { schedules: number; seed: number; folder: string; say(line: string): void; signal?: AbortSignal },
  simulators: readonly Simulator[] = SIMULATORS,
): Promise<Simulated[]> {
  mkdirSync(options.folder, { recursive: true })
  const results: Simulated[] = []
  for (const simulator of simulators) results.push(await simulateOne(simulator, options))
  return results
}

async function simulateOne({ name, file }: Simulator, options: Parameters<typeof simulate>[0]): Promise<Simulated> {
  const { schedules, folder, say } = options
  // They count their seeds from 1.
  const seed = Math.max(options.seed, 1)
  const began = performance.now()
  const ended = (fault?: string): Simulated => {
    const ms = performance.now() - began
    return { name, schedules, seed, ms, ...(fault !== undefined && { fault }) }
  }
  if (options.signal?.aborted) return ended('interrupted')
  say(`simulator ${name}: ${schedules} schedules from seed ${seed}`)
  const running = await launch(
    {
      file: process.execPath,
      args: ['--enable-source-maps', join(checkout, file), '--schedules', String(schedules), '--seed', String(seed)],
      env: {},
      cwd: checkout,
    },
    join(folder, `simulator-${name}.log`),
    { tied: true },
  )
  const stop = (): void => void signal(running.who, 'SIGKILL')
  options.signal?.addEventListener('abort', stop, { once: true })
  if (options.signal?.aborted) stop()
  const { code } = await running.exited
  options.signal?.removeEventListener('abort', stop)
  if (options.signal?.aborted) return ended('interrupted')
  if (code === 0) return ended()
  const lines = running.lastLines(40)
  return ended(lines.find((line) => /\bseed \d+/.test(line)) ?? lines.at(-1) ?? `ended with ${code}`)
}

/** The table, for a terminal or as Markdown. */
export function printSimulated(
  results: readonly Simulated[],
  { markdown, write }: { markdown: boolean; write(line: string): void },
): void {
  const rows = results.map(({ name, schedules, seed, ms, fault }) => [
    name,
    String(schedules),
    String(seed),
    `${(ms / 1_000).toFixed(1)} s`,
    fault ?? 'good',
  ])
  const all = [['simulator', 'schedules', 'from seed', 'took', 'verdict'], ...rows]
  const widths = all[0]!.map((_, i) => Math.max(...all.map((row) => row[i]!.length)))
  const print = (row: readonly string[]): void => {
    const cells = row.map((cell, i) => cell.padEnd(widths[i]!))
    write(markdown ? `| ${cells.join(' | ')} |` : cells.join('  ').trimEnd())
  }
  print(all[0]!)
  if (markdown) print(widths.map((width) => '-'.repeat(width)))
  for (const row of rows) print(row)
  write('')
}
