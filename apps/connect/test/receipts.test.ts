import t from 'tap'
import { createReceipts } from '../src/receipts.js'
import { type Fake, fakeNode } from './fake-node.js'
import { until } from './until.js'

const ROOM = 'room:abcdefgh12345678'
const conversation = 'dm:alice:bob'
const receipt = (over: object) => ({ op: 'receipt' as const, conversation, user: 'bob', ...over })

function setUp(t: { after(end: () => void): void }) {
  const { sessions, connect } = fakeNode()
  const receipts = createReceipts({ sessions, dropped: () => {}, gatherMs: 1 })
  t.after(() => void receipts.stop())
  return { connect, receipts }
}

/** Waits until the session was shown something. */
async function shown({ socket, session }: Fake): Promise<Record<string, unknown>[]> {
  await until('something is shown', () => {
    session.flush()
    return socket.frames.length > 0
  })
  return socket.frames.splice(0)
}

t.test('what comes in a moment is one frame, the furthest of all', async (t) => {
  const { connect, receipts } = setUp(t)
  const [alice, bob, carol] = [connect('alice'), connect('bob'), connect('carol')]
  for (const over of [{ delivered: 3 }, { delivered: 5 }, { read: 2 }, { delivered: 4 }, { read: 1 }]) {
    receipts.add(receipt(over))
  }
  t.same(await shown(alice), [receipt({ delivered: 5, read: 2 })])
  t.same(bob.shown(), [receipt({ read: 2 })], 'own devices: where the person has read to')
  t.same(carol.shown(), [], 'a stranger')
})

t.test('own devices are not told what one of them has', async (t) => {
  const { connect, receipts } = setUp(t)
  const [alice, bob] = [connect('alice'), connect('bob')]
  receipts.add(receipt({ delivered: 3 }))
  t.same(await shown(alice), [receipt({ delivered: 3 })])
  t.same(bob.shown(), [])
})

t.test('in a room those who are in it are told, each person by itself', async (t) => {
  const { connect, receipts } = setUp(t)
  const rooms = [ROOM]
  const [alice, bob, carol] = [connect('alice', { rooms }), connect('bob', { rooms }), connect('carol')]
  receipts.add(receipt({ conversation: ROOM, delivered: 3 }))
  receipts.add(receipt({ conversation: ROOM, user: 'alice', delivered: 2 }))
  t.same(await shown(alice), [receipt({ conversation: ROOM, delivered: 3 })])
  t.same(bob.shown(), [receipt({ conversation: ROOM, user: 'alice', delivered: 2 })])
  t.same(carol.shown(), [])
})

t.test('neither a session that is opening nor a reader that has enough to read is shown it', async (t) => {
  const { connect, receipts } = setUp(t)
  const [alice, opening, slow] = [connect('alice'), connect('alice', { opening: true }), connect('alice')]
  slow.socket.waiting = 100_000
  receipts.add(receipt({ read: 1 }))
  await shown(alice)
  t.same([opening.shown(), slow.shown()], [[], []])
})

t.test('how far somebody has read what is pushed to everyone is told to the own devices alone', async (t) => {
  const { connect, receipts } = setUp(t)
  const [alice, bob] = [connect('alice'), connect('bob')]
  receipts.add(receipt({ conversation: 'feed:*', read: 3 }))
  t.same(await shown(bob), [receipt({ conversation: 'feed:*', read: 3 })])
  t.same(alice.shown(), [])
})
