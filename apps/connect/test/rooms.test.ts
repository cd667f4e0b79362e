/** Who is shown what of a room, at one node: pushes in any order, holes that are read, changes that no push told of. */
import {
  AppError,
  type Entry,
  messageFrame,
  type PushEntry,
  type RoomEvent,
  roomEventClientId,
} from '@tidings/protocol'
import { createLogger, createMetrics, noTracing, stageMetrics } from '@tidings/service'
import type { LogReader } from '@tidings/stream'
import t, { type Test } from 'tap'
import { createCatchUp } from '../src/catch-up.js'
import { createDeliver } from '../src/deliver.js'
import { createRooms } from '../src/rooms.js'
import { Session } from '../src/session.js'
import { createSessions } from '../src/sessions.js'
import { createSlots } from '../src/slots.js'
import type { Position } from '../src/standing.js'
import type { SendResult, Socket } from '../src/transport.js'
import { until } from './until.js'

const ROOM = 'room:abcdefgh12345678'
const log = createLogger({ app: 'connect', instance: 'test', level: 'silent' })

class Reader implements Socket {
  closed = false
  seqs: number[] = []
  send(frame: string | Uint8Array): SendResult {
    const { op, message } = JSON.parse(Buffer.from(frame as Uint8Array).toString())
    if (op === 'message') this.seqs.push(message.seq)
    return 'sent'
  }
  sendAll(frames: readonly (string | Uint8Array)[]): SendResult {
    for (const frame of frames) this.send(frame)
    return 'sent'
  }
  ping(): void {}
  buffered(): number {
    return 0
  }
  close(): void {
    this.closed = true
  }
}

const said = (seq: number): Entry => ({
  ...{ id: String(1_000 + seq), conversation: ROOM, seq, n: seq, from: 'alice', type: 'text' },
  ...{ content: '{"text":"hello"}', clientId: '', sentAt: 1, trace: '' },
})
const changed = (seq: number, event: Partial<RoomEvent>): Entry => ({
  ...said(seq),
  type: 'system',
  clientId: roomEventClientId(seq),
  content: JSON.stringify({ event: 'room', change: 'added', version: seq, by: 'alice', ...event }),
})

/** A node and the room's log, which holds what was `written`. */
function setUp(t: Test) {
  const written: Entry[] = []
  const positions = new Map<string, Position[]>()
  const sessions = createSessions()
  let isMember = true
  let held: Promise<void> | undefined
  let letGo = () => {}
  let answering: Promise<void> | undefined
  let asked = 0
  const requireMember = (): void => {
    if (!isMember) throw new AppError('conversation_not_found')
  }
  const stopper = new AbortController()
  t.after(() => stopper.abort())
  const catchUp = createCatchUp({
    reader: {
      async after(_: string, after: number, limit: number) {
        await held
        return written.filter(({ seq }) => seq > after).slice(0, limit)
      },
      heads: async () => [written.at(-1)?.seq ?? 0],
    } as unknown as LogReader,
    logic: {
      async readHistory({ after = 0 }) {
        requireMember()
        const entries = written
          .filter(({ seq }) => seq > after)
          .map(({ trace: _, options = '', ...entry }) => ({ ...entry, extra: '', options }))
        return { entries, voids: [], head: written.at(-1)?.seq ?? 0, complete: true }
      },
      async permit() {
        requireMember()
        return { ttlMs: 0 }
      },
    },
    slots: createSlots(4, 4),
    leaveRoom: sessions.leaveRoom,
    signal: stopper.signal,
    log,
  })
  const metrics = stageMetrics(createMetrics('test', 'test'), 'deliver')
  const deliver = createDeliver({
    ...{ sessions, catchUp, sweep: { soon: () => {} }, routed: { note() {} }, metrics, tracing: noTracing },
  })
  const rooms = createRooms({
    ...{ sessions, catchUp, openings: createSlots(4, 4), log },
    logic: {
      async openDevice({ user }) {
        const found = positions.get(user!) ?? []
        asked++
        await answering
        return { positions: found }
      },
    },
  })
  t.after(() => rooms.stop())

  function connect(user: string, at?: Partial<Position>): { reader: Reader; session: Session } {
    const reader = new Reader()
    const identity = { user, sessionId: undefined, expiresAt: 0, scopes: undefined }
    const session = new Session(user, 'default', identity, reader, (closed) => sessions.remove(closed))
    sessions.add(session)
    if (at) {
      const position = { conversation: ROOM, cursor: 0, head: 0, joined: 1, floor: 0, ...at }
      session.begin([position], { resume: false, fromOldest: false })
    }
    sessions.enterRooms(session)
    for (const conversation of session.open()) void catchUp.repair(session, conversation)
    return { reader, session }
  }
  const push = (entry: Entry): void => {
    const pushed: PushEntry = {
      ...{ partition: 0, fence: 1, conversation: ROOM, seq: entry.seq, users: [], trace: '' },
      frame: Buffer.from(messageFrame(entry)),
      members: entry.type === 'system',
      fleeting: false,
    }
    deliver(pushed)
    sessions.inRoom(ROOM)?.flush()
    for (const session of sessions.all()) session.flush()
  }
  return {
    ...{ sessions, written, positions, rooms, connect, push },
    /** Reads of the log wait until `goOn`. */
    holdReads() {
      held = new Promise((resolve) => {
        letGo = resolve
      })
    },
    goOn: () => letGo(),
    /** Answers about a device's positions wait until `goOn`, and are as old then. */
    holdPositions() {
      answering = new Promise((resolve) => {
        letGo = resolve
      })
    },
    asked: () => asked,
    expel: () => {
      isMember = false
    },
    both(entry: Entry): void {
      written.push(entry)
      push(entry)
    },
  }
}

t.test(
  'promise 4: those in the room are shown it, from the entry that lets them in to the one that shuts them out',
  (t) => {
    const { connect, both, sessions } = setUp(t)
    const alice = connect('alice', {})
    const bob = connect('bob')
    const eve = connect('eve')
    both(said(1))
    both(changed(2, { joined: ['bob'] }))
    both(said(3))
    both(changed(4, { change: 'removed', left: ['bob'] }))
    both(said(5))
    both(changed(6, { joined: ['bob'] }))
    both(said(7))
    t.same(alice.reader.seqs, [1, 2, 3, 4, 5, 6, 7])
    t.same(bob.reader.seqs, [2, 3, 4, 6, 7])
    t.same(eve.reader.seqs, [])
    both(changed(8, { change: 'deleted' }))
    both(said(9))
    t.same([alice.reader.seqs.at(-1), bob.reader.seqs.at(-1)], [8, 8], 'an ended room is over for all')
    t.same([...sessions.concerned(ROOM)], [])
    t.end()
  },
)

t.test('a removal that overtakes an entry holds back what follows it, and nothing before it', async (t) => {
  const { connect, push, written, sessions } = setUp(t)
  const bob = connect('bob', {})
  const removal = changed(2, { change: 'removed', left: ['bob'] })
  written.push(said(1), removal, said(3), said(4))
  push(removal)
  push(said(3))
  push(said(4))
  t.same(bob.reader.seqs, [])
  await until('the hole was read', () => bob.reader.seqs.length === 2)
  await until('he is out', () => [...sessions.concerned(ROOM)].length === 0)
  t.same(bob.reader.seqs, [1, 2])
})

t.test('a removal that no push told of is found where the log is read; one of an earlier stay is none', async (t) => {
  const { connect, push, written, sessions } = setUp(t)
  const bob = connect('bob', {})
  const carol = connect('carol', { joined: 3 })
  written.push(
    said(1),
    changed(2, { change: 'left', left: ['bob', 'carol'] }),
    changed(3, { joined: ['carol'] }),
    said(4),
  )
  push(said(4))
  await until('carol has all', () => carol.reader.seqs.length === 4)
  await until('bob is out', () => ![...sessions.concerned(ROOM)].includes(bob.session))
  t.same(bob.reader.seqs, [1, 2])
  t.same(carol.reader.seqs, [1, 2, 3, 4])
  push(said(5))
  t.same(bob.reader.seqs, [1, 2])
  t.same(carol.reader.seqs.at(-1), 5)
})

t.test('a late push of a removal shuts out nobody who has come back since', async (t) => {
  const { connect, push, written, sessions } = setUp(t)
  const removed = changed(7, { change: 'removed', left: ['bob'] })
  const added = changed(9, { joined: ['bob'] })
  written.push(...[1, 2, 3, 4, 5, 6].map(said), removed, said(8), added, said(10))
  const bob = connect('bob', { joined: 9, floor: 8, cursor: 8, head: 10 })
  await until('he has what is his', () => bob.reader.seqs.length === 2)
  for (const entry of [removed, said(8), added, said(10)]) push(entry)
  t.ok([...sessions.concerned(ROOM)].includes(bob.session))
  push(said(11))
  t.same(bob.reader.seqs, [9, 10, 11])
})

t.test('promise 4: what was being read for somebody who is out meanwhile is shown to nobody', async (t) => {
  const { connect, written, sessions, holdReads, goOn } = setUp(t)
  written.push(...[1, 2, 3, 4, 5, 6].map(said), changed(7, { change: 'removed', left: ['bob'] }), said(8))
  holdReads()
  const bob = connect('bob', { cursor: 5, head: 8 })
  const carol = connect('carol', { cursor: 5, head: 8 })
  sessions.leaveRoom(bob.session, ROOM)
  goOn()
  await until('she has all', () => carol.reader.seqs.length === 3)
  t.same(bob.reader.seqs, [])
})

t.test('promise 4: what was being read for an earlier stay is not shown behind what is new', async (t) => {
  const { connect, written, push, sessions, holdReads, goOn } = setUp(t)
  written.push(...[1, 2, 3, 4, 5, 6].map(said), changed(7, { change: 'removed', left: ['bob'] }), said(8))
  holdReads()
  const bob = connect('bob', { cursor: 5, head: 8 })
  const carol = connect('carol', { cursor: 5, head: 8 })
  sessions.leaveRoom(bob.session, ROOM)
  const added = changed(9, { joined: ['bob'] })
  written.push(added)
  push(added)
  t.same(bob.reader.seqs, [9])
  goOn()
  await until('she has all', () => carol.reader.seqs.length === 4)
  t.same(bob.reader.seqs, [9])
  push(said(10))
  t.same(bob.reader.seqs, [9, 10])
})

t.test('nobody is told a gap over what may have shut him out', async (t) => {
  const { connect, push, expel, sessions } = setUp(t)
  const bob = connect('bob', {})
  expel()
  push(said(3))
  await until('he is out', () => [...sessions.concerned(ROOM)].length === 0)
  t.same(bob.reader.seqs, [])
})

t.test('what etcd tells of a change is compared with what the sessions know', async (t) => {
  const { connect, positions, rooms, sessions, written, push } = setUp(t)
  written.push(said(1), changed(2, { joined: ['bob'] }), said(3))
  const bob = connect('bob')
  const carol = connect('carol', { head: 0, joined: 1 })
  positions.set('bob', [{ conversation: ROOM, cursor: 1, head: 3, joined: 2, floor: 1 }])
  rooms.changed(ROOM.slice(5), { version: 2, joined: ['bob'], left: ['carol'] })
  await until('he is shown what he missed', () => bob.reader.seqs.length === 2)
  await until('she is out', () => ![...sessions.concerned(ROOM)].includes(carol.session))
  t.same(bob.reader.seqs, [2, 3])
  push(said(4))
  t.same([bob.reader.seqs.at(-1), carol.reader.seqs], [4, []])
})

t.test('what changed while a session was being compared is not passed over', async (t) => {
  const { connect, positions, rooms, sessions, written, holdPositions, goOn, asked } = setUp(t)
  written.push(said(1), changed(2, { joined: ['bob'] }), said(3))
  const bob = connect('bob')
  holdPositions()
  rooms.missed()
  await until('he is being compared', () => asked() === 1)
  positions.set('bob', [{ conversation: ROOM, cursor: 1, head: 3, joined: 2, floor: 1 }])
  rooms.missed()
  t.equal(asked(), 1, 'one at a time')
  goOn()
  await until('he is shown what he missed', () => bob.reader.seqs.length === 2)
  t.ok([...sessions.concerned(ROOM)].includes(bob.session))
})

t.test('whoever hears late of a joining lets nobody in who has left since', async (t) => {
  const { connect, positions, rooms, sessions, both } = setUp(t)
  const bob = connect('bob')
  const carol = connect('carol')
  both(said(1))
  positions.set('bob', [{ conversation: ROOM, cursor: 1, head: 3, joined: 2, floor: 1 }])
  positions.set('carol', [{ conversation: ROOM, cursor: 1, head: 2, joined: 2, floor: 1 }])
  both(changed(2, { joined: ['bob'] }))
  both(said(3))
  both(changed(4, { change: 'removed', left: ['bob'] }))
  rooms.changed(ROOM.slice(5), { version: 2, joined: ['bob', 'carol'], left: [] })
  await until('it was compared', () => carol.session.joinedAt(ROOM) === 2)
  t.same(bob.reader.seqs, [2, 3, 4], 'and nothing again')
  t.notOk([...sessions.concerned(ROOM)].includes(bob.session))
  both(changed(5, { joined: ['bob'] }))
  t.equal(bob.reader.seqs.at(-1), 5, 'a new joining lets him in')
})

t.test('a session that ends is in no room any more', (t) => {
  const { connect, sessions } = setUp(t)
  const { session } = connect('bob', {})
  t.equal([...sessions.concerned(ROOM)].length, 1)
  session.close(1000, 'bye')
  t.same([...sessions.concerned(ROOM)], [])
  t.end()
})

t.test('a client’s own cursors reach back to the floor of a room and not below', (t) => {
  const { connect } = setUp(t)
  const { session } = connect('bob', { joined: 5, floor: 4, cursor: 6, head: 6 })
  session.resumeFrom(ROOM, 2)
  t.equal(session.positionOf(ROOM), 4)
  t.end()
})
