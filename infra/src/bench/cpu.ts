/** CPU time and memory of other processes, from /proc. */
import { readFileSync } from 'node:fs'
import { codeOf, Failure } from '../failure.js'
import type { ServerProcess } from './order.js'

/** USER_HZ: the unit of the times in /proc, the same on every Linux of our kind. */
const TICK_US = 10_000

/** Microseconds by process name. */
export type CpuTimes = Record<string, number>

/**
 * The time a process has run, in user and in system mode, from the text of /proc/<pid>/stat. With that of its children that have ended: Redis
 * has its append-only file written anew by one.
 */
export function parseCpuUs(stat: string): number {
  // The name in parentheses may hold blanks and parentheses itself: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [user, system, userOfEnded, systemOfEnded] = fields.slice(11, 15).map(Number)
  return (user! + system! + userOfEnded! + systemOfEnded!) * TICK_US
}

/** Resident memory in KiB, from the text of /proc/<pid>/status. */
export function parseResidentKib(status: string): number {
  return parseKib(status, 'VmRSS')
}

/** The part of it that is the process's own, and not pages of files that the kernel may drop and read again at any time. */
export function parseOwnKib(status: string): number {
  return parseKib(status, 'RssAnon')
}

/** The time that all cores were busy for anyone, from the text of /proc/stat. */
export function parseBusyUs(stat: string): number {
  const [user, nice, system, , , irq, softirq, steal] = stat.split('\n', 1)[0]!.split(/\s+/).slice(1).map(Number)
  return (user! + nice! + system! + irq! + softirq! + steal!) * TICK_US
}

/** Microseconds that all cores of the machine were busy since its start. */
export function readBusyUs(): number {
  return parseBusyUs(readFileSync('/proc/stat', 'utf8'))
}

/** @throws Failure when one of them has died: what is measured would be another system */
export function readCpu(processes: readonly ServerProcess[]): CpuTimes {
  return collect(processes, 'stat', parseCpuUs)
}

/** KiB by process name. @throws Failure when one of them has died */
export function readResident(processes: readonly ServerProcess[]): Record<string, number> {
  return collect(processes, 'status', parseResidentKib)
}

/** KiB of their own by process name. @throws Failure when one of them has died */
export function readOwn(processes: readonly ServerProcess[]): Record<string, number> {
  return collect(processes, 'status', parseOwnKib)
}

/** What was used between two readings, each value divided. */
export function perUnit(before: CpuTimes, after: CpuTimes, units: number): CpuTimes {
  return Object.fromEntries(Object.entries(after).map(([name, us]) => [name, (us - (before[name] ?? 0)) / units]))
}

export const totalOf = (times: CpuTimes): number => Object.values(times).reduce((sum, us) => sum + us, 0)

function parseKib(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN)
}

function collect(
  processes: readonly ServerProcess[],
  file: string,
  parse: (text: string) => number,
): Record<string, number> {
  const found: Record<string, number> = {}
  for (const { name, pid } of processes) found[name] = (found[name] ?? 0) + parse(read(name, pid, file))
  return found
}

function read(name: string, pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ESRCH') throw error
    throw new Failure(`${name} (pid ${pid}) has ended under the load: the figures would mean nothing.`, {
      cause: error,
    })
  }
}
