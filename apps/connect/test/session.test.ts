import t from 'tap'
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
