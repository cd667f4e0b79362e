import { AppError, type logicRpc } from '@tidings/protocol'
import { createLogger } from '@tidings/service'
import t, { type Test } from 'tap'
import { createAcks } from '../src/ack.js'
import { until } from './until.js'

const log = createLogger({ app: 'connect', instance: 'test', level: 'silent' })

/** Logic that remembers its calls, and is away when it is told so. */
function world(t: Test) {
  const calls: { conversation: string; seq: number; device: string }[][] = []
  const state = { away: false }
  const acks = createAcks(
    {
      async ack({ acks: given = [] }) {
        if (state.away) throw new AppError('unavailable', 'logic is away')
        calls.push((given as logicRpc.Ack[]).map(({ conversation, seq, device }) => ({ conversation, seq, device })))
        return {}
      },
    },
    log,
  )
  t.teardown(() => acks.stop())
  return { acks, calls, state }
}

t.test('acks of a moment leave as one call, of each cursor the furthest', async (t) => {
  const { acks, calls } = world(t)
  for (const seq of [1, 2, 5, 3]) acks.add('bob', 'phone', 'dm:alice:bob', seq)
  acks.add('bob', 'laptop', 'dm:alice:bob', 2)
  acks.add('bob', 'phone', 'dm:bob:carol', 7)
  t.same([calls.length, acks.waiting], [0, 3], 'gathered')
  await until('logic is called', () => calls.length > 0)
  t.same(calls, [
    [
      { conversation: 'dm:alice:bob', seq: 5, device: 'phone' },
      { conversation: 'dm:alice:bob', seq: 2, device: 'laptop' },
      { conversation: 'dm:bob:carol', seq: 7, device: 'phone' },
    ],
  ])
  t.equal(acks.waiting, 0)
})

t.test('a flush does not wait, and many go in calls of a bounded size', async (t) => {
  const { acks, calls } = world(t)
  for (let i = 0; i < 2_500; i++) acks.add(`u${i}`, 'd', 'feed:*', 1)
  await acks.flush()
  t.same(
    calls.map((call) => call.length),
    [1_000, 1_000, 500],
  )
  await acks.flush()
  t.equal(calls.length, 3, 'nothing waits any more')
})

t.test('what logic did not take is kept, joined with what comes, and sent again', async (t) => {
  const { acks, calls, state } = world(t)
  state.away = true
  acks.add('bob', 'phone', 'dm:alice:bob', 5)
  acks.add('bob', 'phone', 'dm:bob:carol', 1)
  await acks.flush()
  t.same([calls.length, acks.waiting], [0, 2])
  acks.add('bob', 'phone', 'dm:alice:bob', 4)
  acks.add('bob', 'phone', 'dm:bob:carol', 2)
  state.away = false
  await until('logic is called', () => calls.length > 0)
  t.same(
    calls.flat().map(({ conversation, seq }) => [conversation, seq]),
    [
      ['dm:alice:bob', 5],
      ['dm:bob:carol', 2],
    ],
    'never lower than before',
  )
})

t.test('what waits is bounded, and is sent at the stop', async (t) => {
  const { acks, calls, state } = world(t)
  state.away = true
  for (let i = 0; i < 100_000; i++) acks.add('bob', `d${i}`, 'dm:alice:bob', 1)
  t.throws(() => acks.add('bob', 'one more', 'dm:alice:bob', 1), { code: 'overloaded' })
  state.away = false
  await acks.stop()
  t.equal(calls.flat().length, 100_000)
})
