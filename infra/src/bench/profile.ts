/** Where an app's CPU goes: self time by function, from the profile that V8 wrote. */
import { readFileSync } from 'node:fs'

/** The part of a .cpuprofile that is read. Times are microseconds of the monotonic clock. */
export interface CpuProfile {
  nodes: {
    id: number
    callFrame: { functionName: string; url: string; lineNumber: number }
  }[]
  startTime: number
  samples: number[]
  timeDeltas: number[]
}

/** One function's own time. */
export interface SelfTime {
  where: string
  us: number
  /** Of all time that was not idle. */
  percent: number
}

const NOT_BUSY = new Set(['(idle)', '(root)'])

/** Sums up self time within the windows, the costliest function first. @param nameOf shortens the URL of a script */
export function sumSelfTime(
  profile: CpuProfile,
  windows: readonly (readonly [number, number])[],
  nameOf: (url: string) => string,
): SelfTime[] {
  const places = new Map<number, string>()
  for (const { id, callFrame } of profile.nodes) places.set(id, placeOf(callFrame, nameOf))
  const sums = new Map<string, number>()
  let at = profile.startTime
  let busy = 0
  for (const [i, node] of profile.samples.entries()) {
    at += profile.timeDeltas[i]!
    // A sample stands for the time until the next one.
    const us = profile.timeDeltas[i + 1] ?? 0
    const place = places.get(node) ?? '(unknown)'
    if (NOT_BUSY.has(place) || !windows.some(([from, to]) => at >= from && at < to)) continue
    sums.set(place, (sums.get(place) ?? 0) + us)
    busy += us
  }
  return [...sums].map(([where, us]) => ({ where, us, percent: (us / busy) * 100 })).sort((a, b) => b.us - a.us)
}

/** Reads a profile. The file is V8's own, so its shape is not checked. */
export function readProfile(path: string): CpuProfile {
  return JSON.parse(readFileSync(path, 'utf8')) as CpuProfile
}

function placeOf(
  { functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame'],
  nameOf: (url: string) => string,
): string {
  const name = functionName || '(anonymous)'
  return url === '' ? name : `${name} ${nameOf(url)}:${lineNumber + 1}`
}
