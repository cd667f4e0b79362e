import { AppError } from '@tidings/protocol'
import t from 'tap'
import { createReads } from '../src/reads.js'
import { fakeNode } from './fake-node.js'

const turn = () => new Promise(setImmediate)

/** A logic that answers when it is told to, call by call. */
function setUp() {
  const calls: { user?: string; conversation?: string; seq?: unknown; answer(error?: Error): void }[] = []
  const reads = createReads({
    read: (request) =>
      new Promise((resolve, reject) =>
        calls.push({ ...request, answer: (error) => (error ? reject(error) : resolve({})) }),
      ),
  })
  const { connect } = fakeNode()
  /** What each of the reads came to, in the order in which that was known. */
  const outcomes: string[] = []
  const read = (session: ReturnType<typeof connect>['session'], conversation: string, seq: number) =>
    void reads(session, conversation, seq).then(
      () => outcomes.push(`${seq}`),
      (error: AppError) => outcomes.push(`${seq} ${error.code}`),
    )
  return { calls, outcomes, read, connect: (user: string) => connect(user).session }
}
const said = (calls: ReturnType<typeof setUp>['calls']) =>
  calls.map(({ user, conversation, seq }) => `${user} ${conversation} ${seq}`)

t.test('of what one session reads of a conversation one call is on its way, then the furthest', async (t) => {
  const { calls, outcomes, read, connect } = setUp()
  const bob = connect('bob')
  for (let seq = 1; seq <= 1_000; seq++) read(bob, 'dm:alice:bob', seq)
  read(bob, 'dm:alice:bob', 990)
  await turn()
  t.same(said(calls), ['bob dm:alice:bob 1'])
  calls[0]!.answer()
  await turn()
  t.same(said(calls).slice(1), ['bob dm:alice:bob 1000'])
  calls[1]!.answer()
  await turn()
  t.equal(outcomes.length, 1_001, 'and all know')
  read(bob, 'dm:alice:bob', 1_001)
  t.same(said(calls).slice(2), ['bob dm:alice:bob 1001'], 'nothing is left behind')
})

t.test('other conversations and other sessions go by themselves', async (t) => {
  const { calls, read, connect } = setUp()
  const bob = connect('bob')
  read(bob, 'dm:alice:bob', 1)
  read(bob, 'dm:bob:carol', 2)
  read(connect('alice'), 'dm:alice:bob', 3)
  t.same(said(calls), ['bob dm:alice:bob 1', 'bob dm:bob:carol 2', 'alice dm:alice:bob 3'])
})

t.test('an error is told to the call that met it, once, and what waited goes next', async (t) => {
  const { calls, outcomes, read, connect } = setUp()
  const bob = connect('bob')
  for (const seq of [1, 2, 3]) read(bob, 'dm:alice:bob', seq)
  calls[0]!.answer(new AppError('unavailable'))
  await turn()
  calls[1]!.answer(new AppError('beyond_head'))
  await turn()
  t.same(outcomes, ['2', '1 unavailable', '3 beyond_head'])
  read(bob, 'dm:alice:bob', 4)
  calls[2]!.answer()
  await turn()
  t.same(outcomes.slice(3), ['4'])
})

t.test('a session reads 500 conversations at once, and is told when one is too many', async (t) => {
  const { calls, outcomes, read, connect } = setUp()
  const bob = connect('bob')
  for (let i = 0; i < 501; i++) read(bob, `room:${i}`, 7)
  await turn()
  t.same([calls.length, outcomes], [500, ['7 overloaded']])
  read(bob, 'room:3', 9)
  read(connect('carol'), 'room:500', 7)
  t.equal(calls.length, 501, 'one that is on its way takes no other place; nor does another session')
  for (const { answer } of [...calls]) answer()
  await turn()
  t.same(said(calls).slice(501), ['bob room:3 9'])
  read(bob, 'room:500', 7)
  t.equal(calls.length, 503)
})
