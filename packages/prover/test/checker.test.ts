/** The checker against histories made by hand: a good one, and for each rule one that breaks it. */
import t from 'tap'
import { RULES } from '../src/index.js'
import { CHANGE_BREACHES, goodChanges, OTHER_BREACHES } from './change-histories.js'
import { altered, at, broken, CONV, good, type Line, lasting, PLAN, verdictOf, without, withPlan } from './histories.js'

t.test('a good history breaks no rule, and its figures are right', async (t) => {
  const { violations, figures, faults } = verdictOf(good())
  t.same(violations, [])
  t.match(figures, { tried: 4, accepted: 4, refused: 0, unknown: 0, shown: 9, repeats: 0, pages: 1 })
  t.match(faults, [{ row: '1', bit: 'pid 7 is gone', recoveryMs: 10 }])
})

t.test('a history without a plan is not judged', async (t) => {
  t.throws(() => verdictOf(without(good(), ({ f }) => f === 'plan')), /no plan/)
})

/** Rule to histories that break it and nothing else (or also the rules named). */
const BREACHES: Record<string, { what: string; lines: Line[]; also?: string[] }[]> = {
  ...CHANGE_BREACHES,
  accepted: [
    { what: 'a device lacks an accepted entry', lines: without(good(), at('bob/phone', 2)) },
    { what: 'a device lacks the last one', lines: without(good(), at('ann/web', 4)) },
    { what: 'MySQL lacks one', lines: without(good(), at('mysql', 3)) },
    { what: 'a history lacks one', lines: without(good(), at('history:bob', 1)) },
    { what: 'a fresh device lacks one', lines: without(good(), at('fresh:ann', 1)) },
  ],
  kept: [
    {
      what: 'sent again, though Redis forgot nothing',
      lines: [
        ...good(),
        { proc: 'probe', mono: 850, type: 'info', f: 'again', conv: CONV, from: 'ann', clientId: 'c-2' },
      ],
    },
    {
      what: 'accepted after a lost tail, and sent again',
      lines: [
        ...altered(good(), ({ mono, f }) => mono === 120 && f === 'fault', {
          data: { row: '22', name: 'FLUSHALL', boundMs: 5_000, phase: 'inject', tailLost: true },
        }),
        { proc: 'probe', mono: 850, type: 'info', f: 'again', conv: CONV, from: 'ann', clientId: 'c-3' },
      ],
    },
  ],
  refused: [
    {
      what: 'what was refused is there',
      lines: altered(good(), (line) => line.f === 'send' && line.type === 'ok' && line.seq === 3, { type: 'fail' }),
    },
  ],
  expected: [
    { what: 'nobody sent it', lines: without(good(), (line) => line.f === 'send' && line.clientId === 'c-2') },
    { what: 'its content is another', lines: altered(good(), at('mysql', 2), { bodyHash: 'other' }), also: ['edited'] },
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
    { what: 'nothing sent meanwhile was accepted', lines: lasting(430, 5_000) },
    { what: 'one only', lines: lasting(330, 5_000) },
    { what: 'after a death, until it is over', lines: lasting(430, 440, 5_000) },
    { what: 'nothing but what the prover sends itself', lines: withPlan(lasting(130, 5_000), { prober: 'ann' }) },
    {
      what: 'nothing that was sent meanwhile was answered before it was healed',
      lines: altered(lasting(130, 1_500), (line) => line.f === 'send' && line.type === 'ok' && line.seq! > 1, {
        mono: 1_600,
      }).sort((a, b) => a.mono - b.mono),
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
    { what: 'no changes, where there should be some', lines: withPlan(good(), { leastChanges: 1 }) },
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

t.test('a good history with changes and pushes breaks no rule, and they are no messages', async (t) => {
  const { violations, figures } = verdictOf(goodChanges())
  t.same(violations, [])
  t.match(figures, { tried: 4, accepted: 4, changes: 7, pushes: 5, changesRefused: 2 })
})

for (const { what, rules, lines } of OTHER_BREACHES)
  t.test(`changes and pushes are judged like messages: ${what}`, async (t) => {
    const found = broken(lines)
    for (const rule of rules) t.ok(found.includes(rule), `${rule} among ${found.join(', ')}`)
  })

t.test(
  'after a lost tail a change stands where it was asked for again, unless nothing is left to change',
  async (t) => {
    const lost = { voids: true, tailLost: true, members: { ...PLAN.members, 'feed:bob': ['bob'] } }
    const place = (line: Line) => line.clientId === 'remove-11' && line.proc !== 'c'
    const again = altered(goodChanges(), place, { seq: 19, id: 'id-19' }).map(
      (line): Line => (line.f === 'head' && line.conv === CONV ? { ...line, seq: 19 } : line),
    )
    const sent = goodChanges().find(({ clientId, type }) => clientId === 'remove-11' && type === 'ok')!
    const lines: Line[] = [...again, { ...sent, mono: 800, seq: 19, id: 'id-19' }]
    for (const proc of ['ann/web', 'bob/phone', 'bob/new', 'mysql', 'history:bob', 'fresh:ann'])
      lines.push({ proc, mono: 890, type: 'ok', f: 'void', conv: CONV, range: [11, 18] })
    t.same(broken(withPlan(lines, lost)), [])
    const gone = without(goodChanges(), (line) => line.clientId === 'edit-6' && line.proc !== 'c').map((line): Line => {
      if (line.f === 'read' && line.conv === CONV && line.seq === 1) return { ...line, bodyHash: 'h-e5' }
      return line.f === 'read' && line.clientId === 'edit-5' ? { ...line, bodyHash: 'h-e5' } : line
    })
    for (const proc of ['ann/web', 'bob/phone', 'bob/new', 'mysql', 'history:bob', 'fresh:ann'])
      gone.push({ proc, mono: 890, type: 'ok', f: 'void', conv: CONV, range: [6, 6] })
    t.same(broken(withPlan(gone, lost)), ['accepted'], 'nobody has asked again')
    const answered = goodChanges().find(({ clientId, type }) => clientId === 'edit-6' && type === 'ok')!
    const { id: _, seq: __, ...draft } = answered
    const refused: Line = { ...draft, mono: 800, type: 'fail', detail: 'message_recalled' }
    t.same(broken(withPlan([...gone, refused], lost)), [], 'the second time it is refused')
  },
)

t.test('sends during a fault are accepted: while it lasts, and until a death is over', async (t) => {
  t.same(broken(lasting(130, 5_000)), [])
  t.same(broken(lasting(130, 140, 5_000)), [])
  t.same(broken(lasting(4_900, 5_000)), [], 'what is proven at its end began with its injection')
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
  lines.push({ proc: 'probe', mono: 790, type: 'info', f: 'again', conv: CONV, from: 'ann', clientId: 'c-4' })
  const during = lines.map((line): Line => {
    if (line.f !== 'fault') return line
    if (line.mono >= 300) return { ...line, mono: line.mono + 200 }
    return { ...line, data: { ...(line.data as object), tailLost: true } }
  })
  const first = withPlan(during, { voids: true, tailLost: true, devices: { ...PLAN.devices, 'bob/new': 'later' } })
  t.same(broken(first), [])
  const undeclared = altered(first, ({ f }) => f === 'void', { range: [5, 8] })
  t.same(broken(undeclared), ['no hole'], 'where it stood first, nobody says that it is void')
  t.notSame(broken(withPlan(lines, { voids: true })), [], 'in any other run that is a breach')
})
