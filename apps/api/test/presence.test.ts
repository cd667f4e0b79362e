/** Who is online, over HTTP. */
import { test } from 'tap'
import { away, isProblem, READ_TOKEN, world } from './world.js'

test('those whom logic names are answered for, by user', async (t) => {
  const { call, calls, behind } = await world(t)
  behind.presence = () => ({
    people: [
      { user: 'bob', online: true, devices: 2, lastSeen: 0 },
      { user: '__proto__', online: false, devices: 0, lastSeen: 1_763_700_000_000 },
    ],
  })
  const reply = await call('GET', 'presence?users=bob,__proto__,eve,bob')
  t.equal(reply.status, 200)
  t.equal(
    reply.text,
    '{"bob":{"online":true,"devices":2,"lastSeen":null},"__proto__":{"online":false,"devices":0,"lastSeen":1763700000000}}',
  )
  t.same(calls.at(-1), ['presence', { user: 'alice', users: ['bob', '__proto__', 'eve'] }])
})

test('what is no list of users is 400, and logic is not asked', async (t) => {
  const { call, calls } = await world(t)
  const many = Array.from({ length: 101 }, (_, i) => `u${i}`).join()
  for (const query of [
    '',
    '?users=',
    '?users=,',
    '?users=bob,',
    '?users=a%20b',
    '?users=../x',
    `?users=${many}`,
    '?users=a&users=b',
    '?user=bob',
    '?users=bob&more=1',
  ]) {
    isProblem(t, await call('GET', `presence${query}`), 400, 'invalid_request', query.slice(0, 40))
  }
  t.equal(
    calls.some(([method]) => method === 'presence'),
    false,
  )
  isProblem(t, await call('GET', 'presence?users=bob', { as: false }), 401, 'unauthenticated', 'no token')
  isProblem(
    t,
    await call('GET', 'presence?users=bob', { token: READ_TOKEN }),
    403,
    'forbidden',
    'a server is in no conversation',
  )
})

test('etcd away is 503', async (t) => {
  const { call, behind } = await world(t)
  behind.presence = () => {
    throw away()
  }
  isProblem(t, await call('GET', 'presence?users=bob'), 503, 'unavailable', 'away')
})
