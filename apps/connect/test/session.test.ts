import t from 'tap'
import { Gate } from '../src/gate.js'
import { Session } from '../src/session.js'
import type { Socket } from '../src/transport.js'

const socket: Socket = {
  send: () => 'sent',
  sendAll: () => 'sent',
  ping: () => undefined,
  buffered: () => 0,
  close: () => undefined,
  closed: false,
}
const session = (): Session =>
  new Session(
    'bob',
    'd',
    { user: 'bob', sessionId: undefined, expiresAt: 0, scopes: undefined },
    socket,
    () => undefined,
  )

t.test('a gap holds acks back until it was paged from below, and then no longer', (t) => {
  const s = session()
  t.equal(s.ackable('c', 90), 90, 'no gap')
  s.limitAcks('c', 10, 50)
  t.equal(s.ackable('c', 90), 10)
  s.filled('c', 11, 40)
  t.equal(s.ackable('c', 90), 10, 'a page that begins beyond the first missing one fills nothing')
  s.filled('c', 10, 30)
  t.equal(s.ackable('c', 90), 30)
  s.filled('c', 5, 20)
  t.equal(s.ackable('c', 90), 30, 'never back')
  s.limitAcks('c', 60, 70)
  s.filled('c', 30, 50)
  t.equal(s.ackable('c', 90), 50, 'a second gap keeps the first limit until all is there')
  s.filled('c', 50, 70)
  t.equal(s.ackable('c', 90), 90)
  t.end()
})

t.test('what was shown pays for its acks, whichever way it was shown', (t) => {
  const s = session()
  const gate = new Gate(true)
  for (let i = 0; i < 1_000; i++) s.show('{}')
  s.send(['{}', '{}'])
  // An ack and a read of each, and then what a client may say by itself.
  for (let i = 0; i < 2 * 1_002 + 500; i++) if (!gate.admits(s, 'ack')) t.fail(`the ack ${i} is one too many`)
  t.notOk(gate.admits(s, 'ack'))
  t.ok(s.closed)
  t.end()
})
