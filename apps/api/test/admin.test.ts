/** What operators and servers ask for, and what of it reaches the parts behind. */
import { AppError } from '@tidings/protocol'
import type { Letter } from '@tidings/stream'
import { type Test, test } from 'tap'
import { ADMIN_TOKEN, isProblem, READ_TOKEN, type Reply, SEND_TOKEN, userNamed, type World, world } from './world.js'

const asked = ({ calls }: World) => calls.filter(([name]) => name !== 'seeUser')

const letter = (over: Partial<Letter> = {}): Letter => ({
  ...{ group: 'persist', partition: 3, id: '1763700000000-0', reason: 'rejected: 4025', deliveries: 2, entry: '1-0' },
  fields: [
    'id',
    '7',
    'conversation',
    'dm:alice:bob',
    'seq',
    '2',
    'from',
    'alice',
    'type',
    'text',
    'content',
    '{"a":1}',
  ],
  ...over,
})

test('dead letters come in pages, with what people wrote on request alone', async (t) => {
  const w = await world(t)
  w.behind.letters = () => ({ letters: [letter(), letter({ id: '1763700000000-1', fields: ['x', 'y'] })], more: true })
  const page = await w.admin('GET', 'admin/dead?group=persist&limit=2&cursor=persist:2:1-1')
  t.same(asked(w), [['letters', { group: 'persist', after: { group: 'persist', partition: 2, id: '1-1' }, limit: 2 }]])
  t.match(page, {
    status: 200,
    body: {
      letters: [
        { group: 'persist', partition: 3, at: 1_763_700_000_000, message: '7', conversation: 'dm:alice:bob', seq: 2 },
        { message: null, conversation: null, seq: null, from: null, type: null },
      ],
      nextCursor: 'persist:3:1763700000000-1',
    },
  })
  t.notOk('content' in page.body.letters[0])
  t.equal((await w.admin('GET', 'admin/dead?content=true')).body.letters[0].content, '{"a":1}')
  for (const query of ['cursor=x', 'cursor=other:1:1-1', 'limit=101', 'limit=0', 'group=x', 'content=yes', 'x=1'])
    isProblem(t, await w.admin('GET', `admin/dead?${query}`), 400, 'invalid_request', query)
})

test('a letter is put back or dropped, and one that is gone is not found', async (t) => {
  const w = await world(t)
  const path = 'admin/dead/3/persist/1763700000000-0'
  t.match(await w.admin('POST', `${path}/requeue`), { status: 200, body: { entry: '2-0' } })
  t.equal((await w.admin('DELETE', path)).status, 204)
  const place = { group: 'persist', partition: 3, id: '1763700000000-0' }
  t.same(asked(w), [
    ['requeue', place],
    ['drop', place],
  ])
  w.behind.requeue = () => undefined
  w.behind.drop = () => false
  isProblem(t, await w.admin('POST', `${path}/requeue`), 404, 'letter_not_found', 'put back before')
  isProblem(t, await w.admin('DELETE', path), 404, 'letter_not_found', 'dropped before')
  for (const bad of ['admin/dead/x/persist/1-0', 'admin/dead/3/other/1-0', 'admin/dead/3/push/one'])
    isProblem(t, await w.admin('DELETE', bad), 400, 'invalid_request', bad)
})

test('every change leaves a line with the key, and what was only looked at does not', async (t) => {
  const w = await world(t)
  await w.admin('GET', 'admin/nodes')
  await w.admin('PUT', 'admin/users/bob/disabled')
  w.behind.drop = () => false
  await w.admin('DELETE', 'admin/dead/3/persist/1-0?x=secret')
  isProblem(t, await w.admin('GET', 'admin/messages/7'), 404, 'message_not_found', 'a message')
  const told = w.lines.filter(({ key }) => key !== undefined)
  t.match(told, [
    { key: 'ops', address: '127.0.0.1', method: 'PUT', path: '/api/v1/admin/users/bob/disabled', status: 204 },
    { key: 'ops', method: 'DELETE', path: '/api/v1/admin/dead/3/persist/1-0' },
    { key: 'ops', method: 'GET', path: '/api/v1/admin/messages/7', status: 404 },
  ])
  t.equal(told.length, 3)
})

test('accounts are made, disabled, enabled and deleted, signed or by a server with the scope admin', async (t) => {
  const w = await world(t)
  const ways: ((method: string, path: string, body?: unknown) => Promise<Reply>)[] = [
    (method, path, body) => w.admin(method, `admin/${path}`, { body }),
    (method, path, body) => w.call(method, path, { token: ADMIN_TOKEN, body }),
  ]
  for (const way of ways) {
    w.calls.length = 0
    const made = await way('POST', 'users', { id: 'dora', displayName: 'Dora D.', password: 'correct horse' })
    t.match(made, { status: 201, body: userNamed('dora') })
    t.equal((await way('PUT', 'users/dora/disabled')).status, 204)
    t.equal((await way('DELETE', 'users/dora/disabled')).status, 204)
    t.equal((await way('DELETE', 'users/dora')).status, 204)
    t.same(asked(w), [
      ['makeUser', { user: 'dora', displayName: 'Dora D.', password: 'correct horse' }],
      ['setUserDisabled', { user: 'dora', disabled: true }],
      ['setUserDisabled', { user: 'dora', disabled: false }],
      ['deleteUser', { user: 'dora' }],
    ])
    for (const body of [
      {},
      { id: 'a b' },
      { id: 'x', password: 'short' },
      { id: 'x', role: 'admin' },
      { id: 'x'.repeat(65) },
    ])
      isProblem(t, await way('POST', 'users', body), 400, 'invalid_request', JSON.stringify(body))
    isProblem(t, await way('DELETE', 'users/a%20b'), 400, 'invalid_request', 'no name')
    t.equal(asked(w).length, 4, 'nothing of that reaches logic')
  }
  w.behind.move = () => {
    throw new AppError('username_taken')
  }
  for (const way of ways) isProblem(t, await way('POST', 'users', { id: 'dora' }), 409, 'username_taken', 'taken')
})

test('others may not make or end accounts', async (t) => {
  const w = await world(t)
  const rows = [
    ['POST', 'users', { id: 'dora' }],
    ['DELETE', 'users/bob', undefined],
    ['PUT', 'users/bob/disabled', undefined],
    ['DELETE', 'users/bob/disabled', undefined],
  ] as const
  for (const [method, path, body] of rows) {
    for (const token of [SEND_TOKEN, READ_TOKEN])
      isProblem(t, await w.call(method, path, { token, body }), 403, 'forbidden', `${method} ${path} by a service`)
    isProblem(t, await w.call(method, path, { as: 'alice', body }), 403, 'forbidden', `${method} ${path} by a user`)
    isProblem(t, await w.call(method, path, { as: false, body }), 401, 'unauthenticated', `${method} ${path}`)
    const own = await w.call(method, `admin/${path}`, { token: ADMIN_TOKEN, body })
    isProblem(t, own, 401, 'signature_required', `${method} admin/${path} with a token`)
  }
  t.same(asked(w), [])
})

test('sessions are listed and ended', async (t) => {
  const w = await world(t)
  const live = { session: 'abc_-1', device: 'phone', node: 'connect-1' }
  const signIn = { id: 's1', device: 'phone', createdAt: 1, expiresAt: 2 }
  w.behind.listSessions = () => ({ sessions: [live], signIns: [signIn] })
  t.same((await w.admin('GET', 'admin/sessions?user=bob')).body, { sessions: [live], signIns: [signIn] })
  t.equal((await w.admin('DELETE', 'admin/sessions/bob/abc_-1')).status, 204)
  t.equal((await w.admin('DELETE', 'admin/sessions/bob')).status, 204)
  t.same(asked(w), [
    ['listSessions', { user: 'bob' }],
    ['endSessions', { user: 'bob', session: 'abc_-1' }],
    ['endSessions', { user: 'bob', session: '' }],
  ])
  for (const [method, path] of [
    ['GET', 'admin/sessions'],
    ['GET', 'admin/sessions?user=a%20b'],
    ['DELETE', 'admin/sessions/bob/a.b'],
    ['DELETE', `admin/sessions/bob/${'x'.repeat(33)}`],
    ['DELETE', 'admin/sessions/a%3Ab'],
  ] as const)
    isProblem(t, await w.admin(method, path), 400, 'invalid_request', path)
  w.behind.changeRoom = () => {
    throw new AppError('session_not_found')
  }
  isProblem(t, await w.admin('DELETE', 'admin/sessions/bob/gone'), 404, 'session_not_found', 'gone')
})

test('an account and a message show all that is known', async (t) => {
  const w = await world(t)
  w.behind.inspectUser = () => ({ user: userNamed('bob'), disabledAt: 5, deletedAt: 0, hasPassword: false })
  t.same((await w.admin('GET', 'admin/users/bob')).body, {
    ...userNamed('bob'),
    ...{ disabledAt: 5, deletedAt: null, hasPassword: false },
  })
  const content = '{ "text": "1e400", "n": 12345678901234567890 }'
  const entry = {
    ...{ id: '7', conversation: 'dm:alice:bob', seq: 2, n: 2, from: 'alice', type: 'text', content },
    ...{ clientId: 'c', sentAt: 9, extra: '', options: '' },
  }
  const device = { device: 'phone', cursor: 2, acknowledged: true, movedAt: 0, node: '' }
  w.behind.inspectMessage = () => ({
    ...{ entry, partition: 1, streamId: '', logged: true, stored: false, settledBy: ['push'] },
    people: [{ user: 'bob', read: false, readAt: 0, devices: [device] }],
    ...{ allPeople: true, nodesKnown: false, forgotten: ['connect-2'], unanswered: ['connect-3'] },
    routed: [{ node: 'connect-1', at: 5, sessions: 2 }],
  })
  const reply = await w.admin('GET', 'admin/messages/7')
  t.ok(reply.text.includes(content), 'the very text')
  t.match(reply.body, {
    message: { id: '7', seq: 2, from: 'alice' },
    place: { partition: 1, streamId: null, logged: true, stored: false },
    groups: { push: true, persist: false },
    routed: {
      nodes: [{ node: 'connect-1', at: 5, sessions: 2 }],
      ...{ forgotten: ['connect-2'], unanswered: ['connect-3'] },
    },
    people: [{ user: 'bob', read: false, readAt: null, devices: [{ ...device, movedAt: null, node: null }] }],
    ...{ allPeople: true, nodesKnown: false },
  })
  for (const id of ['0', 'x', '99999999999999999999']) {
    isProblem(t, await w.admin('GET', `admin/messages/${id}`), 400, 'invalid_request', id)
  }
})

test('limits are set all at once, checked, and taken back', async (t) => {
  const w = await world(t)
  t.same((await w.admin('GET', 'admin/limits')).body, { live: {}, inForce: null })
  t.equal((await w.admin('PUT', 'admin/limits', { body: { sendsPerS: 5, sessionsPerUser: 0 } })).status, 204)
  t.same(JSON.parse(w.behind.limits!), { sendsPerS: 5, sessionsPerUser: 0 })
  t.same((await w.admin('GET', 'admin/limits')).body.live, { sendsPerS: 5, sessionsPerUser: 0 })
  for (const body of [{ sendsPerS: 0 }, { sendsPerS: 1.5 }, { sendsPerS: '5' }, { sendPerS: 5 }, [], 5, null])
    isProblem(
      t,
      await w.admin('PUT', 'admin/limits', { body: JSON.stringify(body) }),
      400,
      'invalid_request',
      JSON.stringify(body),
    )
  isProblem(
    t,
    await w.admin('PUT', 'admin/limits', { body: '{"sendsPerS":5,"sendsPerS":6}' }),
    400,
    'invalid_json',
    'twice',
  )
  t.same(JSON.parse(w.behind.limits!), { sendsPerS: 5, sessionsPerUser: 0 }, 'as it was')
  t.equal((await w.admin('DELETE', 'admin/limits')).status, 204)
  t.equal(w.behind.limits, undefined)
})

test('a body of an operator is bounded before it is checked, and is not read for strangers', async (t: Test) => {
  const w = await world(t)
  const big = JSON.stringify({ sendsPerS: 5, x: 'x'.repeat(70_000) })
  isProblem(t, await w.admin('PUT', 'admin/limits', { body: big }), 413, 'payload_too_large', 'signed')
  const port = await w.listen()
  const url = `http://127.0.0.1:${port}/api/v1/admin/limits`
  const unsigned = await fetch(url, { method: 'PUT', body: big, headers: { 'content-type': 'application/json' } })
  t.match(await unsigned.json(), { status: 401, code: 'signature_required' })
  const headers = {
    ...{ 'x-tidings-key': 'ops', 'x-tidings-timestamp': String(Date.now()), 'x-tidings-nonce': 'n'.repeat(16) },
    ...{ 'x-tidings-signature': '0'.repeat(64), 'content-type': 'application/json' },
  }
  const long = await fetch(url, { method: 'PUT', body: big, headers })
  t.match(await long.json(), { status: 413, code: 'payload_too_large' }, 'an answer, not a cut')
  t.equal(w.behind.limits, undefined)
})
