import { type Entry, messageFrame, packPushes, unpackPushes } from '@tidings/protocol'
import { createChances } from '@tidings/service/simulation'
import t from 'tap'
import { createRouted } from '../src/routed.js'

const frameOf = (id: string): Buffer => {
  const entry: Entry = {
    ...{ id, conversation: 'dm:alice:bob', seq: 1, n: 1, from: 'alice', type: 'text', content: '{"text":"7"}' },
    ...{ clientId: '', sentAt: 1_763_700_000_000, trace: '' },
  }
  const pushed = { partition: 1, fence: 1, conversation: entry.conversation, seq: 1, users: ['bob'], trace: '' }
  // As it arrives: a part of what was pushed together.
  const packed = packPushes([
    { ...pushed, frame: 'before it', members: false, fleeting: false },
    { ...pushed, frame: messageFrame(entry), members: false, fleeting: false },
  ])
  return unpackPushes(packed)[1]!.frame
}

function clock() {
  let time = 0
  return {
    now: () => time,
    at(next: number) {
      time = next
    },
  }
}

t.test('an entry is found by its id, and by no other', (t) => {
  const routed = createRouted({ now: () => 5 })
  const ids = ['7', '999999999', '1000000000', '117556096990281728', '9223372036854775807', '9223372036854775806']
  for (const [i, id] of ids.entries()) routed.note(frameOf(id), i)
  for (const [i, id] of ids.entries()) t.same(routed.of(id), { at: 5, sessions: i }, id)
  const others = [
    '10000000000',
    '99999999',
    '11755609699028172',
    '1175560969902817280',
    '8',
    '0',
    '',
    '07',
    '-7',
    '7.0',
    '1e9',
    'x',
    '2000000000',
    '117556097990281728',
    '117556096990281729',
  ]
  for (const id of [...others, '99999999999999999999', '223372036854775807']) t.equal(routed.of(id), undefined, id)
  t.end()
})

t.test('exactly the newest are remembered, whatever the ids, and since when is known', (t) => {
  const chances = createChances(7)
  const time = clock()
  time.at(100)
  const size = 8
  const routed = createRouted({ size, now: time.now })
  t.equal(routed.since, 100, 'from the beginning')
  // Few begin, and few end, like no other: what is compared must be all of it.
  const ids = [
    ...new Set(
      Array.from(
        { length: 90 },
        () => `${1 + chances.below(3)}00000000${'0'.repeat(chances.below(3))}${chances.below(12)}`,
      ),
    ),
  ]
  t.ok(ids.length > 40)
  for (const [i, id] of ids.entries()) {
    time.at(101 + i)
    routed.note(frameOf(id), i)
    for (const [j, other] of ids.entries()) {
      const remembered = j <= i && j > i - size
      t.same(routed.of(other), remembered ? { at: 101 + j, sessions: j } : undefined)
    }
    t.equal(routed.since, i < size ? 100 : 101 + i - size, 'when the newest of those that are forgotten came')
  }
  t.end()
})

t.test('of several pushes of an entry the first one and the most sessions are told', (t) => {
  const time = clock()
  const routed = createRouted({ size: 4, now: time.now })
  for (const [at, sessions] of [
    [1, 2],
    [2, 3],
    [3, 1],
  ] as const) {
    time.at(at)
    routed.note(frameOf('42'), sessions)
  }
  t.same(routed.of('42'), { at: 1, sessions: 3 })
  t.end()
})

t.test('what has no id is passed over', (t) => {
  const routed = createRouted({ size: 2 })
  routed.note(frameOf('42'), 1)
  for (const text of ['', 'one', '{"op":"typing","conversation":"dm:alice:bob","user":"bob"}']) {
    routed.note(Buffer.from(text), 9)
  }
  t.match(routed.of('42'), { sessions: 1 })
  t.end()
})
