import { type PushEntry, packPushes } from '@tidings/protocol'
import { createMetrics, noTracing, stageMetrics } from '@tidings/service'
import t from 'tap'
import { createDeliver } from '../src/deliver.js'
import { createPushService } from '../src/push-service.js'
import { createRouted } from '../src/routed.js'
import { Session } from '../src/session.js'
import { createSessions } from '../src/sessions.js'
import type { SendResult, Socket } from '../src/transport.js'

class FakeReader implements Socket {
  frames: string[] = []
  waiting = 0
  closed = false
  code: number | undefined
  send(frame: string | Uint8Array): SendResult {
    this.frames.push(Buffer.from(frame as Uint8Array).toString())
    return 'sent'
  }
  sendAll(frames: readonly (string | Uint8Array)[]): SendResult {
    for (const frame of frames) this.send(frame)
    return 'sent'
  }
  ping(): void {}
  buffered(): number {
    return this.waiting
  }
  close(code: number): void {
    this.closed = true
    this.code = code
  }
}

const entry = (over: Partial<PushEntry> = {}): PushEntry => ({
  partition: 1,
  fence: 5,
  conversation: 'dm:alice:bob',
  seq: 1,
  frame: Buffer.from('one'),
  users: ['bob'],
  trace: '',
  members: false,
  fleeting: false,
  ...over,
})

function setUp() {
  const sessions = createSessions()
  const repairs: string[] = []
  let looked = 0
  const routed = createRouted()
  const metrics = stageMetrics(createMetrics('test', 'test'), 'deliver')
  const deliver = createDeliver({
    sessions,
    catchUp: { repairSoon: (session, conversation) => repairs.push(`${session.user} ${conversation}`) },
    sweep: { soon: () => void looked++ },
    routed,
    metrics,
    tracing: noTracing,
  })
  const join = (user: string, state: 'opening' | 'open' = 'open') => {
    const reader = new FakeReader()
    const identity = { user, sessionId: undefined, expiresAt: 0, scopes: undefined }
    const session = new Session(user, 'default', identity, reader, (closed) => sessions.remove(closed))
    if (state === 'open') session.open()
    sessions.add(session)
    return { reader, session }
  }
  return { sessions, deliver, join, repairs, metrics, routed, looks: () => looked }
}

t.test('promise 4: an entry goes to the sessions of its users and to nobody else', (t) => {
  const { deliver, join } = setUp()
  const bob = join('bob')
  const bobToo = join('bob')
  const eve = join('eve')
  t.equal(deliver(entry()), undefined)
  for (const { session } of [bob, bobToo, eve]) session.flush()
  t.same([bob.reader.frames, bobToo.reader.frames, eve.reader.frames], [['one'], ['one'], []])
  t.end()
})

t.test('a lower fence than one seen before is refused, for its partition alone', (t) => {
  const { deliver, join } = setUp()
  const { reader, session } = join('bob')
  t.equal(deliver(entry({ fence: 9 })), undefined)
  t.equal(deliver(entry({ fence: 8, seq: 2 })), 9, 'and the higher one is told')
  t.equal(
    deliver(entry({ fence: 3, partition: 2, conversation: 'dm:bob:carol', frame: Buffer.from('other') })),
    undefined,
  )
  session.flush()
  t.same(reader.frames, ['one', 'other'])
  t.end()
})

t.test('what is pushed while a session opens is remembered as a hint', (t) => {
  const { deliver, join } = setUp()
  const { reader, session } = join('bob', 'opening')
  deliver(entry({ seq: 7 }))
  deliver(entry({ seq: 6 }))
  t.same(session.open(), ['dm:alice:bob'])
  t.equal(session.flow('dm:alice:bob').known, 7)
  t.same(reader.frames, [])
  t.end()
})

t.test('a congested reader gets no pushes; it is repaired from the log', (t) => {
  const { deliver, join, repairs } = setUp()
  const { reader, session } = join('bob')
  reader.waiting = 1 << 20
  deliver(entry())
  deliver(entry({ seq: 2 }))
  session.flush()
  t.same(reader.frames, [])
  t.same(repairs, ['bob dm:alice:bob'])
  t.equal(session.flow('dm:alice:bob').known, 2)
  t.end()
})

t.test('a dropped frame ends the session with 4508', (t) => {
  const { deliver, join, sessions } = setUp()
  const { reader, session } = join('bob')
  reader.send = () => 'dropped'
  deliver(entry())
  session.flush()
  t.equal(reader.code, 4508)
  t.equal(sessions.of('bob').length, 0)
  t.end()
})

t.test('a pushed void, which has no frame, is confirmed with the rest of its batch and tells its seq', async (t) => {
  const { deliver, join, repairs, sessions, metrics, routed } = setUp()
  const { reader, session } = join('bob')
  const acks = { add() {}, flush: async () => undefined, waiting: 0, stop: async () => undefined }
  const sweep = { soon() {}, stop: acks.stop }
  const service = createPushService({ deliver, sessions, acks, sweep, routed, metrics })
  async function* requests() {
    const entries = [
      { ...entry({ seq: 1_000 }), frame: '' },
      { ...entry({ conversation: 'dm:bob:carol' }), frame: 'one' },
    ]
    yield { number: 7, recheck: false, ...packPushes(entries) }
  }
  const confirmed: number[] = []
  for await (const { number } of service.push(requests(), {} as never)) confirmed.push(number!)
  session.flush()
  t.same(confirmed, [7])
  t.same(reader.frames, ['one'])
  t.same(repairs, ['bob dm:alice:bob'], 'what reaches up to the void is read')
})

t.test('what may expire is shown at once or read later, never held back for what is missing', (t) => {
  const { deliver, join, repairs } = setUp()
  const { reader, session } = join('bob')
  deliver(entry({ seq: 2, fleeting: true, frame: Buffer.from('two') }))
  deliver(entry({ seq: 1, fleeting: true, frame: Buffer.from('one') }))
  session.flush()
  t.same(reader.frames, ['one'], 'the first was not kept')
  t.same(repairs, ['bob dm:alice:bob'])
  t.same(session.flow('dm:alice:bob').known, 2, 'the log has it')
  t.end()
})

t.test('a broadcast comes to all sessions in order, a part of them in each turn', async (t) => {
  const { deliver, join } = setUp()
  const all = Array.from({ length: 1_300 }, (_, i) => join(`u${i}`))
  const opening = join('opening', 'opening')
  const broadcast = (seq: number) =>
    deliver(entry({ conversation: 'feed:*', users: [], seq, frame: Buffer.from(`b${seq}`) }))
  for (const seq of [1, 2, 3]) broadcast(seq)
  const shown = () => {
    for (const { session } of all) session.flush()
    return all.filter(({ reader }) => reader.frames.length === 3).length
  }
  t.equal(shown(), 0, 'nobody has all of them yet')
  const late = join('late')
  late.session.begin([{ conversation: 'feed:*', cursor: 3, head: 3, joined: 0, floor: 0 }], {
    resume: false,
    fromOldest: false,
  })
  for (let turns = 0; shown() < all.length && turns < 100; turns++) await new Promise(setImmediate)
  for (const { session } of [late, opening]) session.flush()
  t.ok(all.every(({ reader }) => reader.frames.join() === 'b1,b2,b3'))
  t.same([late.reader.frames, opening.reader.frames], [[], []])
  t.same(opening.session.open(), ['feed:*'], 'who was opening knows that there is something')
})

t.test('what was pushed is remembered with the sessions that it was put to; what was refused is not', async (t) => {
  const { deliver, join, routed } = setUp()
  for (const user of ['alice', 'bob', 'bob', 'eve']) join(user)
  const frame = (id: string) => Buffer.from(`{"op":"message","message":{"id":"${id}"}}`)
  deliver(entry({ fence: 9, users: ['alice', 'bob'], frame: frame('11') }))
  deliver(entry({ fence: 9, users: ['nobody'], conversation: 'dm:alice:nobody', frame: frame('12') }))
  deliver(entry({ fence: 9, users: [], conversation: 'feed:*', frame: frame('13') }))
  deliver(entry({ fence: 8, seq: 2, frame: frame('14') }))
  t.same(
    ['11', '12', '13', '14'].map((id) => routed.of(id)?.sessions),
    [3, 0, 4, undefined],
  )
})

t.test('more broadcasts than may wait are found by looking at the heads', async (t) => {
  const { deliver, join, looks } = setUp()
  for (let i = 0; i < 600; i++) join(`u${i}`)
  for (let seq = 1; seq <= 64; seq++) deliver(entry({ conversation: 'feed:*', users: [], seq }))
  t.equal(looks(), 0)
  for (let seq = 65; seq <= 70; seq++) deliver(entry({ conversation: 'feed:*', users: [], seq }))
  t.ok(looks() > 0)
})
