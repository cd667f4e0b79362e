import t from 'tap'
import { Gate, REFUSED_SEND } from '../src/gate.js'
import { fakeNode } from './fake-node.js'

const connect = () => fakeNode().connect('bob').session
/** @returns how many in a row pass; the next one has ended the session */
function admitted(gate: Gate, session: ReturnType<typeof connect>, op: unknown): number {
  let count = 0
  while (gate.admits(session, op)) if (++count > 100_000) throw new Error('it has no end')
  return count
}

t.test('what was shown pays for some thousand acks and reads, and no more is saved up', async (t) => {
  const session = connect()
  const gate = new Gate(true)
  for (let i = 0; i < 5_000; i++) session.show('{}')
  t.equal(admitted(gate, session, 'read'), 8_000 + 500)
  t.ok(session.closed)
})

t.test('whoever answers as it is shown never comes to an end', async (t) => {
  const session = connect()
  const gate = new Gate(true)
  for (let i = 0; i < 20_000; i++) {
    session.show('{}')
    if (!gate.admits(session, 'ack') || !gate.admits(session, 'read')) return t.fail(`refused after ${i}`)
  }
})

t.test('sends pass, for their user’s limit counts them; those that it refused have an end', async (t) => {
  const session = connect()
  const gate = new Gate(true)
  for (let i = 0; i < 10_000; i++) if (!gate.admits(session, 'send')) t.fail(`send ${i}`)
  t.equal(admitted(gate, session, REFUSED_SEND), 1_000)
  t.ok(session.closed)
  t.ok(new Gate(false).admits(connect(), REFUSED_SEND), 'not where limits are off')
})
