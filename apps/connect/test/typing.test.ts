import type { Ephemeral, TypingEvent } from '@tidings/protocol'
import t from 'tap'
import { createEphemeral } from '../src/ephemeral.js'
import { createTyping } from '../src/typing.js'
import { fakeNode } from './fake-node.js'

/** What typing has nothing to do with. */
const idle = { receipts: { add() {} }, watch: { event() {}, lookAgain() {} } }
const ROOM = 'room:abcdefgh12345678'
const conversation = 'dm:alice:bob'

function speaker() {
  const said: TypingEvent[] = []
  const clock = { now: 0 }
  const typing = createTyping({ publish: (event) => void said.push(event), now: () => clock.now })
  return { said, clock, typing }
}

t.test('one every two seconds goes out, per conversation and session', async (t) => {
  const { connect } = fakeNode()
  const { said, clock, typing } = speaker()
  const [phone, tablet] = [connect('alice').session, connect('alice').session]
  const count = (): number => said.splice(0).length
  for (let i = 0; i < 5; i++) typing(phone, conversation)
  t.same(said, [{ op: 'typing', conversation, user: 'alice' }])
  count()
  typing(phone, 'dm:alice:carol')
  typing(tablet, conversation)
  t.equal(count(), 2)
  clock.now = 1_999
  typing(phone, conversation)
  t.equal(count(), 0)
  clock.now = 2_000
  typing(phone, conversation)
  t.equal(count(), 1)
  clock.now = 9_000
  for (let i = 0; i < 40; i++) typing(phone, `dm:alice:u${i}`)
  t.equal(count(), 16, 'nobody writes to forty people at once')
})

t.test('only who is in a conversation can be typing in it', async (t) => {
  const { connect, sessions } = fakeNode()
  const { said, typing } = speaker()
  const [alice, member] = [connect('alice').session, connect('bob', { rooms: [ROOM] }).session]
  for (const wrong of ['dm:bob:carol', 'dm:bob:alice', ROOM, 'feed:alice', 'feed:bob', 'feed:*', 'room:x', '']) {
    t.throws(() => typing(alice, wrong), { code: 'conversation_not_found' }, wrong)
  }
  typing(member, ROOM)
  t.equal(said.length, 1)
  sessions.leaveRoom(member, ROOM)
  t.throws(() => typing(member, ROOM), { code: 'conversation_not_found' }, 'who has left, no more')
})

t.test('the sessions of the others are told, once each', async (t) => {
  const { connect, sessions } = fakeNode()
  const listener = createEphemeral({ sessions, ...idle, dropped: () => {} })
  const [alice, bob, carol] = [connect('alice'), connect('bob', { rooms: [ROOM] }), connect('carol', { rooms: [ROOM] })]
  const opening = connect('bob', { opening: true })
  const event: Ephemeral = { op: 'typing', conversation, user: 'alice' }
  const inRoom: Ephemeral = { op: 'typing', conversation: ROOM, user: 'bob' }
  listener.events([event, inRoom])
  t.same([alice.shown(), bob.shown(), carol.shown(), opening.shown()], [[], [event], [inRoom], []])
})

t.test('a node tells no more than it can bear, and goes on with the next second', async (t) => {
  const { connect, sessions } = fakeNode()
  const clock = { now: 0 }
  let dropped = 0
  const listener = createEphemeral({
    sessions,
    ...idle,
    dropped: (events) => {
      dropped += events
    },
    now: () => clock.now,
  })
  const members = Array.from({ length: 101 }, (_, i) => connect(`u${i}`, { rooms: [ROOM] }))
  const event: Ephemeral = { op: 'typing', conversation: ROOM, user: 'u0' }
  const told = (): number => members.reduce((sum, member) => sum + member.shown().length, 0)
  listener.events(Array.from({ length: 250 }, () => event))
  t.same([told(), dropped], [20_000, 50])
  clock.now = 500
  listener.events(Array.from({ length: 250 }, () => event))
  t.equal(told(), 10_000)
})
