/** Bytes and system calls of other processes, from /proc/<pid>/io: those of read, write and their kin, sockets included. */
import { readFileSync } from 'node:fs'
import { codeOf } from '../failure.js'
import type { IoFigures } from './figures.js'
import type { ServerProcess } from './order.js'

/** Reads the text of /proc/<pid>/io. */
export function parseIo(text: string): IoFigures {
  const value = (field: string): number => Number(new RegExp(`^${field}: (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
  return { reads: value('syscr'), writes: value('syscw'), bytesRead: value('rchar'), bytesWritten: value('wchar') }
}

/** By process name. A process whose figures we may not see is left out: the stores may run under another account. */
export function readIo(processes: readonly ServerProcess[]): Record<string, IoFigures> {
  const found: Record<string, IoFigures> = {}
  for (const { name, pid } of processes) {
    const text = read(pid)
    if (text !== undefined) found[name] = combine(parseIo(text), found[name], (a, b) => a + b)
  }
  return found
}

/** What was done between two readings, divided. */
export function ioPerUnit(
  before: Record<string, IoFigures>,
  after: Record<string, IoFigures>,
  units: number,
): Record<string, IoFigures> {
  return Object.fromEntries(
    Object.entries(after).map(([name, io]) => [name, combine(io, before[name], (a, b) => (a - b) / units)]),
  )
}

const NONE: IoFigures = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 }

function combine(a: IoFigures, b: IoFigures = NONE, by: (a: number, b: number) => number): IoFigures {
  return {
    reads: by(a.reads, b.reads),
    writes: by(a.writes, b.writes),
    bytesRead: by(a.bytesRead, b.bytesRead),
    bytesWritten: by(a.bytesWritten, b.bytesWritten),
  }
}

function read(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/io`, 'utf8')
  } catch (error) {
    // One that has ended is reported by whoever reads its CPU.
    if (['EACCES', 'EPERM', 'ENOENT', 'ESRCH'].includes(codeOf(error) ?? '')) return undefined
    throw error
  }
}
