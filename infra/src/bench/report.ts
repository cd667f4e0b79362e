/** What a run of the bench leaves: a file for programs, and lines for people. */
import { Failure } from '../failure.js'
import { readJson } from '../files.js'
import type { Figures } from './figures.js'
import type { Machine } from './machine.js'
import type { Scale } from './order.js'
import type { SelfTime } from './profile.js'
import { renderTable } from './table.js'

const PROFILE_LINES = 10

/** What goes into the file. */
export interface Report {
  at: string
  quick: boolean
  profiled: boolean
  scale: Scale
  /** Settings of the person that held, by name. */
  settings: string[]
  machine: Machine | undefined
  suites: Figures[]
  profiles: Record<string, SelfTime[]>
}

/** Reads what an earlier run has written. @throws Failure when it is no such file */
export function readReport(path: string): Report {
  const report = readJson(path) as Partial<Report> | undefined
  if (!Array.isArray(report?.suites)) throw new Failure(`${path} is not a file that npm run bench has written.`)
  return report as Report
}

/** The report as lines of text. */
export function renderReport({ machine, suites, profiles, quick, profiled }: Report): string[] {
  const lines: string[] = []
  if (machine) {
    const { cpu, cores, memoryGib, system, node, redis, mysql, etcd } = machine
    lines.push(`\n${cpu}, ${cores} cores shared with the load generator, ${memoryGib} GiB, ${system}`)
    lines.push(`Node ${node}, Redis ${redis}, ${mysql}, etcd ${etcd}\n`)
  }
  if (quick) lines.push('--quick: too short for figures to quote')
  if (profiled) lines.push('--profile: the profiler costs time of its own; these figures are not for quoting')
  lines.push(...renderTable(suites))
  for (const [app, costs] of Object.entries(profiles)) {
    lines.push(`\n${app}, self time`)
    for (const { where, us, percent } of costs.slice(0, PROFILE_LINES))
      lines.push(`  ${percent.toFixed(1).padStart(5)} %  ${(us / 1_000).toFixed(0).padStart(6)} ms  ${where}`)
  }
  for (const { suite, faults } of suites) for (const fault of faults) lines.push(`FAULT in ${suite}: ${fault}`)
  return lines
}
