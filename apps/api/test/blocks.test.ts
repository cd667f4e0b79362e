/** Blocks over HTTP: whose they are, and what cannot be one. */
import { test } from 'tap'
import { isProblem, READ_TOKEN, SEND_TOKEN, world } from './world.js'

test('blocks are of the caller, and may be repeated', async (t) => {
  const { call, calls, behind } = await world(t)
  for (const [method, name] of [
    ['PUT', 'block'],
    ['PUT', 'block'],
    ['DELETE', 'unblock'],
  ] as const) {
    const reply = await call(method, 'blocks/bob')
    t.same([reply.status, reply.text], [204, ''])
    t.same(calls.at(-1), [name, { user: 'alice', blocked: 'bob' }])
  }
  t.same((await call('GET', 'blocks')).body, { users: [], nextCursor: null })
  t.same(calls.at(-1), ['listBlocks', { user: 'alice', cursor: '', limit: 50 }])
  behind.listBlocks = () => ({ users: ['bob', 'carol'], nextCursor: 'carol' })
  t.same((await call('GET', 'blocks?cursor=abe&limit=2')).body, { users: ['bob', 'carol'], nextCursor: 'carol' })
  t.same(calls.at(-1), ['listBlocks', { user: 'alice', cursor: 'abe', limit: 2 }])
})

test('what is not right does not reach logic (1, 8, 27)', async (t) => {
  const { call, calls } = await world(t)
  for (const method of ['PUT', 'DELETE']) {
    for (const id of ['a%3Ab', '%00', '..%2f..%2fetc', 'x'.repeat(65), '%F0%9F%98%80', 'bob%0a'])
      isProblem(t, await call(method, `blocks/${id}`), 404, 'user_not_found', `${method} ${id}`)
    isProblem(t, await call(method, 'blocks/bob', { as: false }), 401, 'unauthenticated', method)
    for (const token of [SEND_TOKEN, READ_TOKEN])
      isProblem(t, await call(method, 'blocks/bob', { token }), 403, 'forbidden', `${method} by a service`)
  }
  for (const query of ['limit=0', 'limit=201', 'limit=x', 'user=bob', 'cursor=a&cursor=b'])
    isProblem(t, await call('GET', `blocks?${query}`), 400, 'invalid_request', query)
  isProblem(t, await call('GET', 'blocks', { as: false }), 401, 'unauthenticated', 'the list')
  isProblem(t, await call('GET', 'blocks', { token: READ_TOKEN }), 403, 'forbidden', 'the list, by a service')
  t.same(
    calls.filter(([name]) => name !== 'seeUser'),
    [],
  )
})
