/** Histories with changes and pushes, made by hand: a good one, and for each rule about them some that break it. */
import { reactionHash, type ShownLine } from '../src/load/shown.js'
import type { Doing } from '../src/plan.js'
import { altered, at, CONV, good, type Line, PLAN, without, withPlan } from './histories.js'

export const FEED = 'feed:bob'
const SERVICE = 'service:prover'
const NOW = 1_000_000
const DAY_MS = 86_400_000

const of = (n: number) => ({ from: 'ann', clientId: `c-${n}` })

interface Made {
  conv: string
  seq: number
  from: string
  clientId: string
  /** What was sent, and what is left of it in the end. */
  bodyHash: string
  finally: { bodyHash: string; shown: ShownLine }
  shown: ShownLine
  doing: Doing
}

const change = (
  seq: number,
  from: string,
  bodyHash: string,
  doing: Exclude<Doing, { what: 'push' }>,
  left = bodyHash,
): Made => {
  const type = doing.what === 'add' || doing.what === 'remove' ? 'reaction' : doing.what
  const shown = { type, target: Number(doing.target.clientId.slice(2)) }
  return {
    conv: CONV,
    seq,
    from,
    clientId: `${doing.what}-${seq}`,
    bodyHash,
    shown,
    doing,
    finally: { bodyHash: left, shown },
  }
}

const push = (seq: number, doing: Omit<Extract<Doing, { what: 'push' }>, 'what'>, left?: ShownLine): Made => {
  const bodyHash = `h-p${seq}`
  const shown: ShownLine = {
    type: 'system',
    ...(doing.ttl !== undefined && { expiresAt: NOW + doing.ttl * 1_000, readAt: NOW }),
  }
  return {
    ...{ conv: FEED, seq, from: SERVICE, clientId: `p-${seq}`, bodyHash, shown, doing: { what: 'push', ...doing } },
    finally: left ? { bodyHash: '', shown: left } : { bodyHash, shown },
  }
}

/** Of the four messages the first is edited twice, the second recalled after an edit, the third reacted to. */
const MADE: readonly Made[] = [
  change(5, 'ann', 'h-e5', { what: 'edit', target: of(1) }, ''),
  change(6, 'ann', 'h-e6', { what: 'edit', target: of(1) }),
  change(7, 'ann', 'h-e7', { what: 'edit', target: of(2) }, ''),
  change(8, 'ann', '', { what: 'recall', target: of(2) }),
  change(9, 'bob', reactionHash('add', '👍'), { what: 'add', target: of(3), emoji: '👍' }),
  change(10, 'ann', reactionHash('add', '👍'), { what: 'add', target: of(3), emoji: '👍' }),
  change(11, 'ann', reactionHash('remove', '👍'), { what: 'remove', target: of(3), emoji: '👍' }),
  push(1, {}),
  push(2, { collapseKey: 'k' }, { type: 'collapsed' }),
  push(3, { collapseKey: 'k' }),
  push(4, { ttl: 2 }, { type: 'expired' }),
  push(5, { ttl: DAY_MS / 1_000 }),
]
const HEADS = { [CONV]: 11, [FEED]: 5 }

/** What readers see of the messages in the end. */
const MESSAGES: Record<number, Partial<Line>> = {
  1: { bodyHash: 'h-e6' },
  2: { bodyHash: '', data: { type: 'recalled' } },
  3: { data: { type: 'text', reactions: { '👍': ['bob'] } } },
}

const refusedChange = (clientId: string, from: string, doing: Doing, detail: string): Line[] =>
  (['invoke', 'fail'] as const).map((type) => {
    const draft = { proc: 'c', conv: CONV, from, clientId, bodyHash: 'h-no', data: doing }
    return { ...draft, mono: 580, type, f: 'send', ...(type === 'fail' && { detail }) }
  })

/** Everybody sees it all as it happens; who reads later sees what is left. */
export function goodChanges(): Line[] {
  const lines = good().map((line) => {
    if (line.f === 'head') return { ...line, seq: HEADS[CONV]! }
    return line.f === 'read' ? { ...line, ...MESSAGES[line.seq!] } : line
  })
  for (const [i, { conv, seq, from, clientId, bodyHash, shown, doing, finally: left }] of MADE.entries()) {
    const entry = { conv, from, clientId, bodyHash }
    const isPush = doing.what === 'push'
    lines.push({ ...entry, proc: 'c', mono: 460 + i * 10, type: 'invoke', f: 'send', data: doing })
    const place = isPush ? {} : { id: `id-${seq}`, seq }
    lines.push({ ...entry, ...place, proc: 'c', mono: 465 + i * 10, type: 'ok', f: 'send', data: doing })
    const id = isPush ? `id-p${seq}` : `id-${seq}`
    for (const proc of isPush ? ['bob/phone'] : ['ann/web', 'bob/phone', 'bob/new']) {
      const user = proc.split('/')[0]!
      const told = { ...entry, proc, user, seq, id, data: shown }
      const mono = (proc === 'bob/new' ? 710 : 610) + seq
      for (const f of ['recv', 'app'] as const) lines.push({ ...told, mono, type: 'ok', f })
      lines.push({ proc, mono, type: 'ok', f: 'ack', conv, seq })
    }
    for (const [proc, user] of isPush ? FEED_PLACES : PLACES) {
      const who = user === undefined ? {} : { user }
      // What has expired does not tell its key; a row does.
      const isRow = proc === 'mysql' && left.shown.type === 'expired'
      const said = isRow ? { bodyHash, data: { type: 'system' } } : { bodyHash: left.bodyHash, data: left.shown }
      const name = left.shown.type === 'expired' && !isRow ? '' : clientId
      lines.push({ ...entry, ...said, ...who, proc, mono: 900, type: 'ok', f: 'read', seq, id, clientId: name })
    }
  }
  for (const [proc, user] of FEED_PLACES)
    lines.push({ proc, ...(user && { user }), mono: 900, type: 'ok', f: 'head', conv: FEED, seq: HEADS[FEED]! })
  const forbidden: Doing = { what: 'edit', target: of(3), forbidden: true }
  lines.push(...refusedChange('x-1', 'bob', forbidden, 'forbidden'))
  lines.push(...refusedChange('x-2', 'ann', { what: 'edit', target: of(2) }, 'message_recalled'))
  const members = { ...PLAN.members, [FEED]: ['bob'] }
  return withPlan(
    lines.sort((a, b) => a.mono - b.mono),
    { members, leastChanges: 12 },
  )
}

const PLACES = [
  ['mysql', undefined],
  ['history:bob', 'bob'],
  ['fresh:ann', 'ann'],
] as const
const FEED_PLACES = [
  ['mysql', undefined],
  ['history:bob', 'bob'],
  ['fresh:bob', 'bob'],
] as const

/** A place tells of an entry of a conversation. */
const of2 =
  (proc: string, seq: number, conv = CONV) =>
  (line: Line) =>
    at(proc, seq)(line) && line.conv === conv && line.f !== 'head'
const changed = (proc: string, seq: number, by: Partial<Line>, conv = CONV): Line[] =>
  altered(goodChanges(), of2(proc, seq, conv), by)

/** As if nobody had refused it. */
const acceptedAll = (clientId: string, seq: number): Line[] => {
  const entry = { conv: CONV, seq, id: `id-${seq}` }
  const sent = goodChanges().find((line) => line.clientId === clientId)!
  const { from = '', bodyHash = '' } = sent
  const doing = sent.data as Exclude<Doing, { what: 'push' }>
  const data = { type: 'edit', target: Number(doing.target.clientId.slice(2)) }
  const lines = goodChanges().map((line): Line => {
    if (line.f === 'head' && line.conv === CONV) return { ...line, seq }
    return line.clientId === clientId && line.type === 'fail' ? { ...line, ...entry, type: 'ok' } : line
  })
  for (const proc of ['ann/web', 'bob/phone', 'bob/new', ...PLACES.map(([name]) => name)]) {
    const user = PLAN.members[CONV]!.find((one) => proc.includes(one))
    const f = proc.includes('/') ? 'app' : 'read'
    lines.push({ ...entry, proc, ...(user && { user }), mono: 950, type: 'ok', f, from, clientId, bodyHash, data })
  }
  return lines
}

export const CHANGE_BREACHES: Record<string, { what: string; lines: Line[]; also?: string[] }[]> = {
  recalled: [
    { what: 'a row has the text still', lines: changed('mysql', 2, { bodyHash: 'h-2', data: undefined }) },
    { what: 'a stub with a text in its row', lines: changed('mysql', 2, { bodyHash: 'h-2' }) },
    {
      what: 'a history shows what an edit had made of it',
      lines: changed('history:bob', 2, { bodyHash: 'h-e7', data: undefined }),
    },
    { what: 'a fresh device is shown the text', lines: changed('fresh:ann', 2, { bodyHash: 'h-2', data: undefined }) },
    { what: 'an edit of it tells its text', lines: changed('fresh:ann', 7, { bodyHash: 'h-e7' }) },
    {
      what: 'a stub without a recall',
      lines: changed('history:bob', 4, { bodyHash: '', data: { type: 'recalled' } }),
      also: ['expected'],
    },
  ],
  edited: [
    { what: 'a row says what was sent', lines: changed('mysql', 1, { bodyHash: 'h-1' }) },
    { what: 'a history shows an older edit', lines: changed('history:bob', 1, { bodyHash: 'h-e5' }) },
    { what: 'the text of an older edit stays', lines: changed('mysql', 5, { bodyHash: 'h-e5' }) },
    { what: 'the edit that counts says nothing', lines: changed('fresh:ann', 6, { bodyHash: '' }) },
    { what: 'a device got the newest edit without its text', lines: changed('bob/phone', 6, { bodyHash: '' }) },
  ],
  reacted: [
    {
      what: 'a reaction is there twice',
      lines: changed('history:bob', 3, { data: { type: 'text', reactions: { '👍': ['bob', 'bob'] } } }),
    },
    { what: 'one is missing', lines: changed('fresh:ann', 3, { data: undefined }) },
    {
      what: 'one that was taken back is there',
      lines: changed('mysql', 3, { data: { type: 'text', reactions: { '👍': ['bob', 'ann'] } } }),
    },
  ],
  changes: [
    { what: 'somebody else edits, and it is accepted', lines: acceptedAll('x-1', 12), also: ['edited'] },
    { what: 'what was recalled is edited', lines: acceptedAll('x-2', 12), also: ['recalled'] },
    {
      what: 'a good message is not found',
      lines: altered(goodChanges(), ({ clientId, type }) => clientId === 'x-2' && type === 'fail', {
        detail: 'message_not_found',
      }),
    },
    {
      what: 'it is about another message',
      lines: altered(goodChanges(), ({ seq, f }) => seq === 9 && f === 'read', {
        data: { type: 'reaction', target: 4 },
      }),
      also: ['reacted'],
    },
  ],
  pushed: [
    {
      what: 'one that was collapsed is shown to a fresh device',
      lines: changed('fresh:bob', 2, { bodyHash: 'h-p2', data: { type: 'system' } }, FEED),
    },
    {
      what: 'the newest is collapsed',
      lines: changed('mysql', 3, { bodyHash: '', data: { type: 'collapsed' } }, FEED),
    },
    {
      what: 'one whose time is over is shown',
      lines: changed(
        'history:bob',
        4,
        { bodyHash: 'h-p4', data: { type: 'system', expiresAt: NOW, readAt: NOW + 5_000 } },
        FEED,
      ),
    },
    {
      what: 'one expires long before its time',
      lines: changed('bob/phone', 5, { bodyHash: '', data: { type: 'expired' } }, FEED),
    },
  ],
}

/** Breaches of older rules, by changes and pushes. */
export const OTHER_BREACHES: { what: string; rules: string[]; lines: Line[] }[] = [
  {
    what: 'an accepted push is nowhere',
    rules: ['accepted', 'no hole'],
    lines: without(goodChanges(), ({ conv, seq }) => conv === FEED && seq === 1),
  },
  {
    what: 'a device lacks a push',
    rules: ['accepted'],
    lines: without(goodChanges(), of2('bob/phone', 3, FEED)),
  },
  { what: 'a fresh device lacks a recall', rules: ['accepted'], lines: without(goodChanges(), of2('fresh:ann', 8)) },
  {
    what: 'a repeated edit is two entries',
    rules: ['once'],
    lines: [
      ...altered(goodChanges(), ({ f, conv }) => f === 'head' && conv === CONV, { seq: 12 }),
      ...['mysql', 'history:bob', 'fresh:ann', 'ann/web', 'bob/phone', 'bob/new'].map(
        (proc): Line => ({
          ...{ proc, mono: 950, type: 'ok', f: proc.includes('/') ? 'app' : 'read', conv: CONV, seq: 12, id: 'id-12' },
          ...{
            from: 'bob',
            clientId: 'add-9',
            bodyHash: reactionHash('add', '👍'),
            data: { type: 'reaction', target: 3 },
          },
        }),
      ),
    ],
  },
  {
    what: 'a push is shown twice',
    rules: ['rising'],
    lines: [
      ...goodChanges(),
      {
        proc: 'bob/phone',
        user: 'bob',
        mono: 990,
        type: 'ok',
        f: 'app',
        conv: FEED,
        seq: 6,
        id: 'id-p6',
        from: SERVICE,
        clientId: 'p-1',
        bodyHash: 'h-p1',
        data: { type: 'system' },
      },
    ],
  },
  {
    what: 'a push says something else',
    rules: ['expected'],
    lines: changed('bob/phone', 1, { bodyHash: 'other' }, FEED),
  },
  {
    what: 'a push that was accepted before another began stands behind it',
    rules: ['real time'],
    lines: altered(goodChanges(), ({ f, type, clientId }) => f === 'send' && type === 'ok' && clientId === 'p-5', {
      mono: 461,
    }),
  },
  {
    what: 'a refused edit is there',
    rules: ['refused'],
    lines: altered(
      acceptedAll('x-2', 12),
      ({ f, type, clientId }) => f === 'send' && type === 'ok' && clientId === 'x-2',
      { type: 'fail' },
    ),
  },
]
