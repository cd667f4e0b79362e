/** Histories made by hand: a good one, and what it takes to alter it. */
import { check, type Draft, type HistoryEvent, type Plan } from '../src/index.js'

export const CONV = 'dm:ann:bob'
export const PLAN: Plan = {
  seed: 1,
  members: { [CONV]: ['ann', 'bob'] },
  prober: 'probe',
  devices: { 'ann/web': 'first', 'bob/phone': 'first', 'bob/new': 'later', 'eve/phone': 'first' },
  voids: false,
  tailLost: false,
  leastAccepted: 3,
  slack: 1,
}
const COUNT = 4

export type Line = Draft & { mono: number }

/** Four messages, shown on all devices, a fault in the middle, and final reads that hold them all. */
export function good(): Line[] {
  const lines: Line[] = [{ proc: 'prover', mono: 0, type: 'info', f: 'plan', data: PLAN }]
  const entry = (seq: number) => ({
    conv: CONV,
    seq,
    id: `id-${seq}`,
    from: 'ann',
    clientId: `c-${seq}`,
    bodyHash: `h-${seq}`,
  })
  const fault = { row: '1', name: 'api killed', available: true, boundMs: 5_000 }
  for (let seq = 1; seq <= COUNT; seq++) {
    const { id, ...draft } = entry(seq)
    lines.push({ ...draft, proc: 'ann', mono: seq * 100, type: 'invoke', f: 'send' })
    lines.push({ ...entry(seq), proc: 'ann', mono: seq * 100 + 50, type: 'ok', f: 'send' })
  }
  lines.push({ proc: 'nemesis', mono: 120, type: 'info', f: 'fault', data: { ...fault, phase: 'inject' } })
  lines.push({
    proc: 'nemesis',
    mono: 130,
    type: 'info',
    f: 'fault',
    detail: 'pid 7 is gone',
    data: { ...fault, phase: 'bit' },
  })
  lines.push({ proc: 'nemesis', mono: 300, type: 'info', f: 'fault', data: { ...fault, phase: 'heal' } })
  lines.push({
    proc: 'nemesis',
    mono: 310,
    type: 'info',
    f: 'fault',
    data: { ...fault, phase: 'recovered', recoveryMs: 10 },
  })
  const show = (proc: string, seq: number): void => {
    const user = proc.split('/')[0]!
    for (const f of ['recv', 'app'] as const) lines.push({ ...entry(seq), proc, user, mono: 600 + seq, type: 'ok', f })
    lines.push({ proc, mono: 600 + seq, type: 'ok', f: 'ack', conv: CONV, seq })
  }
  for (const proc of ['ann/web', 'bob/phone']) for (let seq = 1; seq <= COUNT; seq++) show(proc, seq)
  lines.push({ proc: 'bob/new', mono: 700, type: 'ok', f: 'ready', user: 'bob' })
  show('bob/new', COUNT)
  for (const [proc, user] of [
    ['mysql', undefined],
    ['history:bob', 'bob'],
    ['fresh:ann', 'ann'],
  ] as const) {
    const who = user === undefined ? {} : { user }
    lines.push({ proc, ...who, mono: 900, type: 'ok', f: 'head', conv: CONV, seq: COUNT })
    for (let seq = 1; seq <= COUNT; seq++) lines.push({ ...entry(seq), ...who, proc, mono: 900, type: 'ok', f: 'read' })
  }
  const data = { after: 0, limit: 10, complete: true, head: 2, seqs: [1, 2], voids: [], invokedAt: 260 }
  lines.push({ proc: 'reader', user: 'bob', mono: 270, type: 'ok', f: 'page', conv: CONV, data })
  return lines.sort((a, b) => a.mono - b.mono)
}

export const verdictOf = (lines: Line[]) => check(lines.map((line): HistoryEvent => ({ run: 'r', ...line })))

/** The fault is proven, healed and over at these times. */
export const lasting = (bitAt: number, healedAt: number, recoveredAt = healedAt + 10): Line[] => {
  const times: Record<string, number> = { bit: bitAt, heal: healedAt, recovered: recoveredAt }
  return good()
    .map((line): Line => (line.f === 'fault' ? { ...line, mono: times[phaseOf(line)] ?? line.mono } : line))
    .sort((a, b) => a.mono - b.mono)
}
const phaseOf = ({ data }: Line): string => (data as { phase: string }).phase

/** @returns the names of the rules that are broken */
export const broken = (lines: Line[]): string[] =>
  [...new Set(verdictOf(lines).violations.map(({ rule }) => rule))].sort()

export const without = (lines: Line[], drop: (line: Line) => boolean): Line[] => lines.filter((line) => !drop(line))
export const altered = (lines: Line[], which: (line: Line) => boolean, change: Partial<Line>): Line[] =>
  lines.map((line) => (which(line) ? { ...line, ...change } : line))
export const withPlan = (lines: Line[], over: Partial<Plan>): Line[] =>
  altered(lines, ({ f }) => f === 'plan', { data: { ...PLAN, ...over } })

/** The lines in which a place tells of an entry. */
export const at = (proc: string, seq: number) => (line: Line) =>
  line.proc === proc && line.seq === seq && line.f !== 'ack'
