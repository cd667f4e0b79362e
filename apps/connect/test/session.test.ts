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
const session = (over: Partial<Socket> = {}): Session =>
  new Session(
    'bob',
    'd',
    { user: 'bob', sessionId: undefined, expiresAt: 0, scopes: undefined },
    { ...socket, ...over },
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
  t.equal(s.ackable('c', 90), 30, 'a second gap leaves the first one as it is')
  s.filled('c', 30, 50)
  t.equal(s.ackable('c', 90), 60, 'what lies between them was shown')
  s.filled('c', 50, 70)
  t.equal(s.ackable('c', 90), 90)
  t.end()
})

t.test('gaps of a conversation are paged one by one, in any order', (t) => {
  const s = session()
  s.limitAcks('c', 10, 20)
  s.limitAcks('c', 30, 40)
  s.filled('c', 10, 20)
  t.equal(s.ackable('c', 90), 30)
  s.filled('c', 30, 40)
  t.equal(s.ackable('c', 90), 90)

  s.limitAcks('c', 50, 60)
  s.limitAcks('c', 70, 80)
  s.filled('c', 70, 80)
  t.equal(s.ackable('c', 90), 50, 'the first is still there')
  s.filled('c', 50, 60)
  t.equal(s.ackable('c', 90), 90)
  t.end()
})

t.test('gaps beyond the most that are kept apart count as one', (t) => {
  const s = session()
  const ends: number[] = []
  for (let i = 0; i < 20; i++) {
    s.limitAcks('c', i * 10, i * 10 + 5)
    ends.push(i * 10 + 5)
  }
  for (const end of ends.slice(0, 15)) s.filled('c', end - 5, end)
  t.equal(s.ackable('c', 500), 150, 'the sixteenth')
  s.filled('c', 150, 155)
  t.equal(s.ackable('c', 500), 155, 'it reaches to the end of the last')
  s.filled('c', 155, 195)
  t.equal(s.ackable('c', 500), 500)
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

t.test('who takes nothing is closed after the time that its socket gives it, and another one later', async (t) => {
  const buffered = () => 100 * 1024
  const [quick, patient] = [session({ buffered, patienceMs: 20 }), session({ buffered, patienceMs: 60_000 })]
  t.teardown(() => patient.close(4410, 'the test is over'))
  void patient.writable()
  await quick.writable()
  t.ok(quick.closed)
  t.notOk(patient.closed)
})
