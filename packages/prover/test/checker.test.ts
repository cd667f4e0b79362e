/** The checker against histories made by hand: a good one, and for each rule one that breaks it. */
import t from 'tap'
import { check, type Draft, type HistoryEvent, type Plan, RULES } from '../src/index.js'

const CONV = 'dm:ann:bob'
const PLAN: Plan = {
  seed: 1,
  members: { [CONV]: ['ann', 'bob'] },
  devices: { 'ann/web': 'first', 'bob/phone': 'first', 'bob/new': 'later', 'eve/phone': 'first' },
  voids: false,
  tailLost: false,
  leastAccepted: 3,
  slack: 1,
}
const COUNT = 4

type Line = Draft & { mono: number }

/** Four messages, shown on all devices, a fault in the middle, and final reads that hold them all. */
function good(): Line[] {
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

const verdictOf = (lines: Line[]) => check(lines.map((line): HistoryEvent => ({ run: 'r', ...line })))

/** @returns the names of the rules that are broken */
const broken = (lines: Line[]): string[] => [...new Set(verdictOf(lines).violations.map(({ rule }) => rule))].sort()

const without = (lines: Line[], drop: (line: Line) => boolean): Line[] => lines.filter((line) => !drop(line))
const altered = (lines: Line[], which: (line: Line) => boolean, change: Partial<Line>): Line[] =>
  lines.map((line) => (which(line) ? { ...line, ...change } : line))
const withPlan = (lines: Line[], over: Partial<Plan>): Line[] =>
  altered(lines, ({ f }) => f === 'plan', { data: { ...PLAN, ...over } })

t.test('a good history breaks no rule, and its figures are right', async (t) => {
  const { violations, figures, faults } = verdictOf(good())
  t.same(violations, [])
  t.match(figures, { tried: 4, accepted: 4, refused: 0, unknown: 0, shown: 9, repeats: 0, pages: 1 })
  t.match(faults, [{ row: '1', bit: 'pid 7 is gone', recoveryMs: 10 }])
})

t.test('a history without a plan is not judged', async (t) => {
  t.throws(() => verdictOf(without(good(), ({ f }) => f === 'plan')), /no plan/)
})

const at = (proc: string, seq: number) => (line: Line) => line.proc === proc && line.seq === seq && line.f !== 'ack'

/** Rule to histories that break it and nothing else (or also the rules named). */
const BREACHES: Record<string, { what: string; lines: Line[]; also?: string[] }[]> = {
  accepted: [
    { what: 'a device lacks an accepted entry', lines: without(good(), at('bob/phone', 2)) },
    { what: 'a device lacks the last one', lines: without(good(), at('ann/web', 4)) },
    { what: 'MySQL lacks one', lines: without(good(), at('mysql', 3)) },
    { what: 'a history lacks one', lines: without(good(), at('history:bob', 1)) },
    { what: 'a fresh device lacks one', lines: without(good(), at('fresh:ann', 1)) },
  ],
  refused: [
    {
      what: 'what was refused is there',
      lines: altered(good(), (line) => line.f === 'send' && line.type === 'ok' && line.seq === 3, { type: 'fail' }),
    },
  ],
  expected: [
    { what: 'nobody sent it', lines: without(good(), (line) => line.f === 'send' && line.clientId === 'c-2') },
    { what: 'its content is another', lines: altered(good(), at('mysql', 2), { bodyHash: 'other' }) },
  ],
  once: [
    {
      what: 'one clientId at two places',
      lines: [
        ...good(),
        ...['ann/web', 'bob/phone', 'bob/new', 'mysql', 'history:bob', 'fresh:ann'].map(
          (proc): Line => ({
            proc,
            mono: 950,
            type: 'ok',
            f: proc.includes('/') ? 'app' : 'read',
            conv: CONV,
            seq: 5,
            id: 'id-5',
            from: 'ann',
            clientId: 'c-1',
            bodyHash: 'h-1',
          }),
        ),
      ],
      also: ['rising'],
    },
  ],
  'same everywhere': [
    { what: 'two ids at one seq', lines: altered(good(), at('mysql', 2), { id: 'id-9' }), also: ['once'] },
  ],
  'no hole': [
    {
      what: 'a seq that holds nothing and was nobody’s',
      lines: altered(good(), (line) => line.f === 'head' && line.proc === 'history:bob', { seq: 5 }),
    },
    {
      what: 'a new device that begins too late',
      lines: altered(good(), (line) => line.f === 'ready', { mono: 602.5 }),
    },
  ],
  voids: [
    {
      what: 'a void in a run that may have none',
      lines: [...good(), { proc: 'bob/phone', mono: 800, type: 'ok', f: 'void', conv: CONV, range: [5, 5] }],
      also: ['no hole'],
    },
    {
      what: 'a void over an entry',
      lines: withPlan([...good(), { proc: 'bob/phone', mono: 800, type: 'ok', f: 'void', conv: CONV, range: [2, 2] }], {
        voids: true,
      }),
    },
  ],
  rising: [
    {
      what: 'a device shows an earlier one later',
      lines: altered(good(), (line) => line.f === 'app' && line.proc === 'bob/phone' && line.seq === 2, {
        mono: 650,
      }).sort((a, b) => a.mono - b.mono),
    },
  ],
  'real time': [
    {
      what: 'accepted before the other began, and behind it',
      lines: altered(good(), (line) => line.type === 'invoke' && line.clientId === 'c-1', { mono: 260 })
        .map((line) => (line.f === 'send' && line.type === 'ok' && line.seq === 1 ? { ...line, mono: 290 } : line))
        .sort((a, b) => a.mono - b.mono),
    },
  ],
  privacy: [
    {
      what: 'a stranger gets a frame',
      lines: [...good(), { proc: 'eve/phone', user: 'eve', mono: 800, type: 'ok', f: 'recv', conv: CONV, seq: 1 }],
    },
    {
      what: 'its text turns up',
      lines: [...good(), { proc: 'log', mono: 800, type: 'fail', f: 'canary', conv: CONV }],
    },
  ],
  'honest pages': [
    {
      what: 'an error shown as an empty page',
      lines: altered(good(), ({ f }) => f === 'page', {
        data: { after: 0, limit: 10, complete: true, head: 2, seqs: [], voids: [], invokedAt: 260 },
      }),
    },
    {
      what: 'a head that forgets what was accepted',
      lines: altered(good(), ({ f }) => f === 'page', {
        data: { after: 0, limit: 10, complete: true, head: 0, seqs: [], voids: [], invokedAt: 260 },
      }),
    },
  ],
  'dead letters': [
    {
      what: 'a good entry was set aside',
      lines: [...good(), { proc: 'dead:persist', mono: 950, type: 'ok', f: 'dead', conv: CONV, clientId: 'c-1' }],
    },
  ],
  bit: [
    { what: 'no trace of the fault', lines: without(good(), ({ detail }) => detail === 'pid 7 is gone') },
    {
      what: 'it could not be injected',
      lines: [
        ...good(),
        { proc: 'nemesis', mono: 320, type: 'fail', f: 'fault', detail: 'no such process', data: { phase: 'failed' } },
      ],
    },
  ],
  recovery: [
    {
      what: 'too late',
      lines: altered(good(), (line) => line.mono === 310, { data: { phase: 'recovered', recoveryMs: 5_001 } }),
    },
    { what: 'never', lines: without(good(), (line) => line.mono === 310) },
  ],
  available: [
    {
      what: 'nothing accepted meanwhile',
      lines: altered(good(), (line) => line.mono === 300 || line.mono === 310, { mono: 140 }).sort(
        (a, b) => a.mono - b.mono,
      ),
    },
  ],
  bounded: [
    {
      what: 'a process that grows',
      lines: [...good(), { proc: 'task-1', mono: 800, type: 'ok', f: 'sample', data: { rss: 2 ** 30 } }],
    },
  ],
  'not vacuous': [
    { what: 'too few', lines: withPlan(good(), { leastAccepted: 5 }) },
    { what: 'MySQL was not read', lines: without(good(), ({ proc }) => proc === 'mysql') },
  ],
}

t.test('every rule has a history that breaks it', async (t) => {
  t.same(Object.keys(BREACHES).sort(), RULES.map(({ name }) => name).sort())
})

for (const [rule, breaches] of Object.entries(BREACHES))
  for (const { what, lines, also = [] } of breaches)
    t.test(`${rule}: ${what}`, async (t) => {
      t.same(broken(lines), [rule, ...also].sort())
    })

t.test('an unknown outcome may be either', async (t) => {
  const unknown = altered(good(), (line) => line.f === 'send' && line.type === 'ok' && line.seq === 3, { type: 'info' })
  t.same(broken(unknown), [], 'there')
  const nowhere = without(unknown, (line) => line.seq === 3 && line.f !== 'send')
  t.same(broken(nowhere), ['no hole'], 'but its seq cannot be nothing')
})

t.test('after a lost tail a message stands where its sender put it again, and the lost seq is void', async (t) => {
  const again = { conv: CONV, from: 'ann', clientId: 'c-4', bodyHash: 'h-4', seq: 9, id: 'id-9' }
  const lines: Line[] = without(good(), (line) => line.seq === 4 && line.proc !== 'ann' && line.f !== 'ack').filter(
    ({ f }) => f !== 'head',
  )
  lines.push({ ...again, proc: 'ann', mono: 800, type: 'ok', f: 'send' })
  for (const proc of ['ann/web', 'bob/phone', 'bob/new', 'mysql', 'history:bob', 'fresh:ann']) {
    lines.push({ proc, mono: 890, type: 'ok', f: 'void', conv: CONV, range: [4, 8] })
    lines.push({ ...again, proc, mono: 900, type: 'ok', f: proc.includes('/') ? 'app' : 'read' })
  }
  const first = withPlan(lines, { voids: true, tailLost: true, devices: { ...PLAN.devices, 'bob/new': 'later' } })
  t.same(broken(first), [])
  t.notSame(broken(withPlan(lines, { voids: true })), [], 'in any other run that is a breach')
})
