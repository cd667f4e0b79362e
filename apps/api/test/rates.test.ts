/** Rate limits by themselves: one process' bucket, what it tells the others, and what counts as one address. */

import { createLimit } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { isProblem, message, SEND_TOKEN, world } from './world.js'

const RATE = { perS: 10, burst: 20 }
const turn = () => new Promise(setImmediate)

test('a bucket gives its burst, then its rate, and says when to come again', async (t) => {
  let now = 0
  const limit = createLimit(
    RATE,
    () => new Promise(() => {}),
    () => now,
  )
  t.equal(limit.takeUpTo('alice', 50), 20)
  t.equal(limit.takeUpTo('alice', 1), 0)
  t.equal(limit.takeUpTo('bob', 1), 1, 'of another one')
  t.throws(() => limit.take('alice'), { code: 'rate_limited', retryAfter: 1 })
  now += 500
  t.equal(limit.takeUpTo('alice', 50), 5)
  now += 3_600_000
  t.equal(limit.takeUpTo('alice', 50), 20, 'never more than the burst')
})

test('others are asked an eighth of a burst at a time, and what they have taken counts', async (t) => {
  let now = 0
  let shared = 0
  const told: number[] = []
  const limit = createLimit(
    RATE,
    async (_key, _rate, taken) => {
      told.push(taken)
      return shared
    },
    () => now,
  )
  limit.take('alice')
  await turn()
  t.same(told, [], 'not for each one')
  limit.take('alice')
  await turn()
  t.same(told, [2])
  t.equal(limit.takeUpTo('alice', 1), 0, 'another process has taken all of it')
  now += 1_000
  t.equal(limit.takeUpTo('alice', 50), 10)
  await turn()
  shared = -30
  now += 200
  t.equal(limit.takeUpTo('alice', 50), 2)
  await turn()
  t.throws(() => limit.take('alice'), { code: 'rate_limited', retryAfter: 4 }, 'what was too much is waited for')
})

test('without Redis a process goes on by itself, and tells later', async (t) => {
  let now = 0
  let away = true
  const told: number[] = []
  const limit = createLimit(
    RATE,
    async (_key, _rate, taken) => {
      if (away) throw new AppError('unavailable')
      told.push(taken)
      return 5
    },
    () => now,
  )
  t.equal(limit.takeUpTo('alice', 50), 20)
  await turn()
  t.equal(limit.takeUpTo('alice', 50), 0)
  away = false
  now += 100
  t.equal(limit.takeUpTo('alice', 50), 1)
  await turn()
  t.same(told, [21])
})

test('of 50,000 buckets and one the one that was not used for longest goes, and tells what was taken from it', async (t) => {
  const told: string[] = []
  const limit = createLimit(
    { perS: 40, burst: 80 },
    async (key, _rate, taken) => {
      told.push(`${key} ${taken}`)
      return 0
    },
    () => 0,
  )
  limit.takeUpTo('alice', 9)
  limit.takeUpTo('bob', 9)
  await turn()
  t.same(told.splice(0), [])
  for (let i = 2; i < 50_000; i++) limit.takeUpTo(`other ${i}`, 1)
  t.equal(limit.takeUpTo('alice', 0), 0)
  limit.takeUpTo('one more', 1)
  await turn()
  t.same(told.splice(0), ['bob 9'])
  t.equal(limit.takeUpTo('alice', 80), 71, 'hers is in use, and kept')
  t.equal(limit.takeUpTo('bob', 79), 79, 'his begins full again')
  await turn()
  t.equal(limit.takeUpTo('bob', 1), 0, 'until the others are heard')
})

test('what is counted, and what a refusal looks like', async (t) => {
  const counted: string[] = []
  const refuse = () => {
    throw new AppError('rate_limited', 'Too many requests.', { retryAfter: 7 })
  }
  let limited = false
  const note = (what: string) => {
    counted.push(what)
    if (limited) refuse()
  }
  const { call, send, drafts } = await world(t, {
    rates: {
      call: ({ user }) => note(`call ${user}`),
      send: ({ user }) => note(`send ${user}`),
      sends: ({ user }, wanted) => {
        counted.push(`${wanted} ${user}`)
        return 2
      },
      stranger: (address) => note(`stranger ${address}`),
      register: (address) => note(`register ${address}`),
    },
  })
  const account = { username: 'alice', password: 'correct horse' }
  const calls: [() => Promise<unknown>, string[]][] = [
    [() => call('GET', 'me'), ['call alice']],
    [() => send(message()), ['send alice']],
    [() => send(message({ from: 'bob' }), { token: SEND_TOKEN }), ['send backend']],
    [() => call('GET', 'me', { as: false }), ['stranger 127.0.0.1']],
    [() => call('GET', 'me', { token: 'nonsense' }), ['stranger 127.0.0.1']],
    [() => call('GET', 'nothing', { as: false }), ['stranger 127.0.0.1']],
    [() => call('POST', 'auth/register', { as: false, body: account }), ['stranger 127.0.0.1', 'register 127.0.0.1']],
  ]
  for (const [run, expected] of calls) {
    counted.length = 0
    await run()
    t.same(counted, expected)
  }
  const before = drafts.length
  const batch = await call('POST', 'messages/batch', { body: { messages: Array.from({ length: 4 }, () => message()) } })
  t.same(
    batch.body.results.map(({ code }: { code?: string }) => code),
    [undefined, undefined, 'rate_limited', 'rate_limited'],
    'the first ones pass',
  )
  t.equal(drafts.length, before + 2)
  limited = true
  for (const reply of [
    await call('GET', 'me'),
    await send(message()),
    await call('GET', 'me', { token: 'nonsense' }),
  ]) {
    isProblem(t, reply, 429, 'rate_limited', 'refused')
    t.equal(reply.headers['retry-after'], '7')
  }
  t.equal(drafts.length, before + 2, 'nothing was sent')
})
