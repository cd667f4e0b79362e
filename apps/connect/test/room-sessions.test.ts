import { type Entry, messageFrame, type PushEntry, roomEventClientId } from '@tidings/protocol'
import { createLogger, createMetrics, noTracing, stageMetrics } from '@tidings/service'
import type { LogReader } from '@tidings/stream'
import t, { type Test } from 'tap'
import { createCatchUp } from '../src/catch-up.js'
import { createDeliver } from '../src/deliver.js'
import { Session } from '../src/session.js'
import { createSessions } from '../src/sessions.js'
import { createSlots } from '../src/slots.js'
import type { SendResult, Socket } from '../src/transport.js'
import { until } from './until.js'

const ROOM = 'room:abcdefgh12345678'
const log = createLogger({ app: 'connect', instance: 'test', level: 'silent' })

/** A socket whose reader reads as it is told. */
class Reader implements Socket {
  closed = false
  seqs: number[] = []
  writes = 0
  answer: SendResult = 'sent'
  waiting = 0
  /** Instead of `answer`, for so many bytes. */
  takes: ((bytes: number) => SendResult) | undefined
  send(frame: string | Uint8Array): SendResult {
    return this.sendAll([frame])
  }
  sendAll(frames: readonly (string | Uint8Array)[]): SendResult {
    this.writes++
    if (this.takes) this.answer = this.takes(frames.reduce((sum, frame) => sum + frame.length, 0))
    for (const frame of frames) this.#take(frame)
    return this.answer
  }
  #take(frame: string | Uint8Array): void {
    if (this.answer !== 'dropped') this.seqs.push(JSON.parse(Buffer.from(frame as Uint8Array).toString()).message.seq)
  }
  ping(): void {}
  buffered(): number {
    return this.waiting
  }
  close(): void {
    this.closed = true
  }
}

const said = (seq: number): Entry => ({
  ...{ id: String(1_000 + seq), conversation: ROOM, seq, n: seq, from: 'alice', type: 'text' },
  ...{ content: '{"text":"hello"}', clientId: '', sentAt: 1, trace: '' },
})
const upTo = (seq: number): number[] => Array.from({ length: seq }, (_, i) => i + 1)

/** A node whose room has a log of `head` entries. */
function setUp(t: Test) {
  const node = { head: 0, reads: 0 }
  const sessions = createSessions()
  const stopper = new AbortController()
  t.after(() => stopper.abort())
  const catchUp = createCatchUp({
    reader: {
      async after(_: string, after: number, limit: number) {
        node.reads++
        return upTo(node.head)
          .slice(after, after + limit)
          .map(said)
      },
      heads: async () => [node.head],
    } as unknown as LogReader,
    logic: {
      readHistory: async () => ({ entries: [], voids: [], head: node.head, complete: true }),
      permit: async () => ({ ttlMs: 0 }),
    },
    slots: createSlots(64, 10_000),
    leaveRoom: sessions.leaveRoom,
    signal: stopper.signal,
    log,
  })
  const deliver = createDeliver({
    ...{ sessions, catchUp, sweep: { soon() {} }, routed: { note() {} }, tracing: noTracing },
    metrics: stageMetrics(createMetrics('test', 'test'), 'deliver'),
  })

  return Object.assign(node, {
    sessions,
    room: () => sessions.inRoom(ROOM)!,
    apart: () => [...sessions.inRoom(ROOM)!.apart].map(({ user }) => user),
    connect(user: string, cursor = node.head, head = node.head) {
      const reader = new Reader()
      const identity = { user, sessionId: undefined, expiresAt: 0, scopes: undefined }
      const session = new Session(user, 'default', identity, reader, (closed) => sessions.remove(closed))
      sessions.add(session)
      const position = { conversation: ROOM, cursor, head, joined: 1, floor: 0 }
      session.begin([position], { resume: false, fromOldest: false })
      sessions.enterRooms(session)
      for (const conversation of session.open()) void catchUp.repair(session, conversation)
      return { reader, session }
    },
    push(seq: number, over: Partial<PushEntry> = {}): void {
      node.head = Math.max(node.head, seq)
      deliver({
        ...{ partition: 0, fence: 1, conversation: ROOM, seq, users: [], trace: '', members: false, fleeting: false },
        frame: Buffer.from(messageFrame(said(seq))),
        ...over,
      })
    },
    /** What a sweep does. */
    raise(): void {
      for (const session of sessions.concerned(ROOM))
        if (session.reaches(ROOM, node.head)) catchUp.repairSoon(session, ROOM)
    },
  })
}

/** Whatever was started in this turn and needs no other. */
const turn = () => new Promise(setImmediate)

t.test(
  'who stands at the same seq is in step after the first entry, and what one turn brings is one write each',
  async (t) => {
    const { connect, push, apart, head } = setUp(t)
    t.equal(head, 0)
    const all = upTo(20).map((i) => connect(`u${i}`))
    t.equal(apart().length, 20)
    push(1)
    t.same(apart(), [])
    for (const seq of [2, 3, 4]) push(seq)
    await turn()
    for (const { reader, session } of all) {
      t.same(reader.seqs, [1, 2, 3, 4])
      t.equal(reader.writes, 2, 'the first went another way')
      t.equal(session.positionOf(ROOM), 4)
      t.ok(session.isNext(ROOM, 5))
      t.notOk(session.isNext(ROOM, 4))
    }
    push(3)
    await turn()
    t.ok(
      all.every(({ reader }) => reader.writes === 2),
      'an old one is nothing',
    )
  },
)

t.test(
  'promise 4: nobody is shown an entry twice or out of order who falls in while another is on its way',
  async (t) => {
    const node = setUp(t)
    const first = node.connect('first')
    node.push(1)
    await turn()
    const second = node.connect('second')
    node.push(2)
    t.same(node.apart(), [])
    node.push(3)
    await turn()
    t.same(first.reader.seqs, [1, 2, 3])
    t.same(second.reader.seqs, [2, 3])
  },
)

t.test(
  'promise 4: who has been shown all that it knows of, but less than the others, stays apart until it has caught up',
  async (t) => {
    const node = setUp(t)
    const ahead = node.connect('ahead')
    for (const seq of [1, 2, 3]) node.push(seq)
    const behind = node.connect('behind', 1, 1)
    node.push(2)
    t.same(node.apart(), ['behind'])
    node.push(3)
    t.same(node.apart(), [])
    node.push(4)
    await turn()
    t.same(ahead.reader.seqs, [1, 2, 3, 4])
    t.same(behind.reader.seqs, [2, 3, 4])
  },
)

t.test('a hole, a void and a change of the members are for each to see for itself', async (t) => {
  const node = setUp(t)
  const all = upTo(5).map((i) => node.connect(`u${i}`))
  node.push(1)
  node.push(3)
  t.equal(node.apart().length, 5)
  node.push(2)
  await turn()
  t.ok(
    all.every(({ reader }) => reader.seqs.join() === '1,2,3'),
    'a late push fills the hole',
  )
  t.equal(node.reads, 0)
  node.push(4)
  t.same(node.apart(), [])
  node.push(5, { frame: Buffer.alloc(0) })
  t.equal(node.apart().length, 5, 'a void is read')
  await until('all have five', () => all.every(({ reader }) => reader.seqs.length === 5))
  node.push(6)
  t.same(node.apart(), [])
  const left = JSON.stringify({ event: 'room', change: 'removed', version: 7, by: 'alice', left: ['u3'] })
  const event = { ...said(7), type: 'system', clientId: roomEventClientId(7), content: left }
  node.push(7, { frame: Buffer.from(messageFrame(event)), members: true })
  node.push(8)
  await turn()
  t.same(
    all.map(({ reader }) => reader.seqs.length),
    [8, 8, 7, 8, 8],
  )
  t.equal(all[2]!.session.positionOf(ROOM), undefined)
  t.equal(node.room().size, 4)
  t.same(node.apart(), [])
})

t.test('who reads slowly is apart, is read to from the log, and comes back', async (t) => {
  const node = setUp(t)
  const quick = node.connect('quick')
  const slow = node.connect('slow')
  node.push(1)
  slow.reader.answer = 'buffered'
  slow.reader.waiting = 1 << 20
  node.push(2)
  await turn()
  t.same(node.apart(), ['slow'])
  for (const seq of [3, 4, 5]) node.push(seq)
  await turn()
  t.same(quick.reader.seqs, upTo(5))
  t.same(slow.reader.seqs, upTo(2), 'what the socket has not passed on is enough')
  slow.reader.answer = 'sent'
  slow.reader.waiting = 0
  slow.session.onDrain()
  await until('the slow one has five', () => slow.reader.seqs.length === 5)
  node.push(6)
  t.same(node.apart(), [])
  await turn()
  t.same(slow.reader.seqs, upTo(6))
})

t.test('a burst of large entries closes nobody who reads, however slowly', async (t) => {
  const node = setUp(t)
  const readers = upTo(3).map((i) => node.connect(`u${i}`))
  node.push(1)
  await turn()
  // As a socket is whose reader takes 100 KiB at first, and has room for 256 KiB more.
  let [taken, most] = [0, 0]
  const { reader, session } = readers[1]!
  reader.takes = (bytes) => {
    taken += bytes
    reader.waiting = Math.max(0, taken - 100 * 1024)
    most = Math.max(most, reader.waiting)
    return reader.waiting > 256 * 1024 ? 'dropped' : reader.waiting > 0 ? 'buffered' : 'sent'
  }
  const text = 'x'.repeat(16 * 1024)
  for (let seq = 2; seq <= 513; seq++) {
    const large = { ...said(seq), content: JSON.stringify({ text }) }
    node.push(seq, { frame: Buffer.from(messageFrame(large)) })
  }
  await turn()
  t.notOk(session.closed)
  t.ok(most > 64 * 1024 && most < 200 * 1024, `${most} bytes waited`)
  for (const at of [0, 2]) t.same(readers[at]!.reader.seqs, upTo(513), 'the others have all')
  reader.takes = undefined
  reader.waiting = 0
  session.onDrain()
  await until('it has all', () => reader.seqs.length === 513)
  t.same(reader.seqs, upTo(513))
})

t.test('a frame that does not fit ends that session alone; one that goes meanwhile is none of the room', async (t) => {
  const node = setUp(t)
  const all = upTo(4).map((i) => node.connect(`u${i}`))
  node.push(1)
  await turn()
  all[1]!.reader.answer = 'dropped'
  node.push(2)
  all[2]!.session.close(4409, 'replaced')
  await turn()
  t.ok(all[1]!.reader.closed)
  t.same(
    all.map(({ reader }) => reader.seqs),
    [[1, 2], [1], [1, 2], [1, 2]],
    'who is closed on purpose gets what was on its way',
  )
  t.equal(node.room().size, 2)
  for (const at of [0, 3]) all[at]!.session.close(4409, 'replaced')
  t.equal(node.sessions.inRoom(ROOM), undefined)
})

t.test('what reaches no further than they were shown leaves them in step; what is missing is read', async (t) => {
  const node = setUp(t)
  const all = upTo(3).map((i) => node.connect(`u${i}`))
  node.push(1)
  await turn()
  node.raise()
  t.same(node.apart(), [])
  node.head = 2
  node.raise()
  t.equal(node.apart().length, 3)
  await until('all have two', () => all.every(({ reader }) => reader.seqs.length === 2))
})

t.test('promise 4: whatever comes, each is shown all, once and in order', { timeout: 60_000 }, async (t) => {
  const node = setUp(t)
  let seed = 4711
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff
    return (seed >> 8) % below
  }
  const all: { reader: Reader; session: Session; from: number }[] = []
  const join = () => {
    const cursor = random(node.head + 1)
    all.push({ ...node.connect(`u${all.length}`, cursor), from: cursor })
  }
  for (let i = 0; i < 10; i++) join()
  const calm = async () => {
    for (const { reader, session } of all) {
      reader.answer = 'sent'
      reader.waiting = 0
      session.onDrain()
    }
    node.push(node.head + 1)
    await until('each has all', () => all.every(({ reader, from }) => reader.seqs.length === node.head - from))
    node.push(node.head + 1)
    t.same(node.apart(), [])
  }
  for (let round = 0; round < 3_000; round++) {
    const what = random(100)
    if (what < 80) node.push(node.head + 1)
    else if (what < 82) node.head++
    else if (what < 87) node.push(Math.max(1, node.head - random(3)))
    else if (what < 89) node.push(node.head + 1, { frame: Buffer.alloc(0) })
    else if (what < 91 && all.length < 60) join()
    else if (what < 94) node.raise()
    else {
      const { reader, session } = all[random(all.length)]!
      reader.answer = random(3) === 0 ? 'buffered' : 'sent'
      reader.waiting = reader.answer === 'sent' ? 0 : random(2) << 17
      session.onDrain()
    }
    if (random(3) === 0) await turn()
    if (round % 50 === 0) await calm()
    for (const { reader, from } of all)
      if (reader.seqs.some((seq, i) => seq !== from + i + 1)) t.fail(`shown after ${from}: ${reader.seqs}`)
  }
  await calm()
  await turn()
  t.same(
    all.map(({ reader }) => reader.seqs.at(-1)),
    all.map(() => node.head),
  )
})
