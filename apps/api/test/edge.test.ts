/** What is the same for every call: ids, problems, unknown paths, origins, headers, the log. */
import { AppError } from '@tidings/protocol'
import { type Test, test } from 'tap'
import { watchEventLoop } from '../src/event-loop.js'
import { requestIdOf } from '../src/exchanges.js'
import { isProblem, message, tokenOf, type World, world } from './world.js'

const MADE_ID = /^[0-9a-f]{32}$/

test('a request id comes back on every answer, and a bad one is replaced', async (t) => {
  const { call } = await world(t)
  const given = { 'x-request-id': 'Req:1.2_3-4' }
  for (const [method, path] of [
    ['GET', 'me'],
    ['GET', 'nothing'],
    ['PUT', 'me'],
    ['OPTIONS', 'me'],
    ['GET', '/%'],
    ['GET', '/docs/'],
    ['POST', 'messages'],
  ] as const) {
    const reply = await call(method, path, { headers: given })
    t.equal(reply.headers['x-request-id'], given['x-request-id'], `${method} ${path}`)
    t.equal(reply.headers['x-content-type-options'], 'nosniff', `${method} ${path}`)
    t.match((await call(method, path)).headers['x-request-id'], MADE_ID, `${method} ${path}`)
  }
  for (const bad of ['', 'a b', 'x'.repeat(129), 'a, b', '\u00e4', '<script>']) {
    t.match((await call('GET', 'me', { headers: { 'x-request-id': bad } })).headers['x-request-id'], MADE_ID, bad)
  }
})

test('no two requests get the same id', async (t) => {
  const ids = Array.from({ length: 2_000 }, () => requestIdOf({ headers: {} }))
  t.ok(ids.every((id) => MADE_ID.test(id)))
  t.equal(new Set(ids).size, ids.length)
})

test('a problem has every member of RFC 9457, and the path without its query', async (t) => {
  const { call } = await world(t)
  const reply = await call('GET', 'conversations/dm:alice:bob/messages?limit=0&ticket=secret', {
    headers: { 'x-request-id': 'r-1' },
  })
  t.same(reply.body, {
    type: 'urn:tidings:error:invalid_request',
    title: 'The request is not valid',
    status: 400,
    detail: '/ticket is not known here.',
    code: 'invalid_request',
    errors: [
      { pointer: '/ticket', message: 'is not known here' },
      { pointer: '/limit', message: 'must be >= 1' },
    ],
    instance: '/api/v1/conversations/dm:alice:bob/messages',
    requestId: 'r-1',
  })
})

test('thousands of faults are told in ten lines', async (t) => {
  const { send } = await world(t)
  const unknown = Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`k${i}${'x'.repeat(5)}`, 1]))
  const reply = await send(message({ ...unknown, ['n'.repeat(9_000)]: 1 }))
  isProblem(t, reply, 400, 'invalid_request', 'many')
  t.ok(reply.body.errors.length > 0 && reply.body.errors.length <= 10)
  t.ok(reply.text.length < 4_000)
})

test('what is not here is 404, and another method is 405 with Allow', async (t) => {
  const { call } = await world(t)
  for (const path of ['/', '/api', '/api/v1', '/api/v1/', '/api/v2/me', '//api/v1/me', '/api/v1/me/', '/API/v1/me']) {
    isProblem(t, await call('GET', path), 404, 'not_found', path)
  }
  isProblem(t, await call('GET', '/docs/static/nothing.js'), 404, 'not_found', 'a file that is not there')
  const others = [
    ['PUT', 'me', 'DELETE, GET, HEAD, PATCH'],
    ['DELETE', 'presence', 'GET, HEAD'],
    ['GET', 'messages', 'POST'],
    ['HEAD', 'messages', 'POST'],
    ['PATCH', 'conversations/dm:a:b/messages', 'GET, HEAD'],
  ] as const
  for (const [method, path, allow] of others) {
    const reply = await call(method, path)
    t.same([reply.status, reply.headers.allow], [405, allow], `${method} ${path}`)
    if (method !== 'HEAD') isProblem(t, reply, 405, 'method_not_allowed', `${method} ${path}`)
    const options = await call('OPTIONS', path, { as: false })
    t.same([options.status, options.headers.allow, options.text], [204, allow, ''], `OPTIONS ${path}`)
  }
  isProblem(t, await call('OPTIONS', 'nothing'), 404, 'not_found', 'OPTIONS of nothing')
  const head = await call('HEAD', 'me')
  t.same([head.status, head.text], [200, ''], 'HEAD is GET without the body')
})

test('strange paths are 404 or 400 (35)', async (t) => {
  const { call } = await world(t)
  const paths = [
    '/api/v1/%2e%2e/%2e%2e/etc/passwd',
    '/api/v1//me',
    '/docs/static/%2e%2e/%2e%2e/package.json',
    '/docs/static/..%2f..%2fpackage.json',
    '/api/v1/%00',
    '/docs/static/%00',
    '/%',
    '/api/v1/users/%ff',
    '/api/v1/users/%zz',
    `/${'x'.repeat(10_000)}`,
  ]
  for (const path of paths) {
    const reply = await call('GET', path)
    t.ok(reply.status === 404 || reply.status === 400, `${path.slice(0, 60)}: ${reply.status}`)
    isProblem(t, reply, reply.status, /^(not_found|user_not_found|invalid_request)$/, path.slice(0, 60))
  }
})

test('pages of listed origins may call, others are told nothing (36)', async (t) => {
  const listed = 'https://app.example'
  const { call } = await world(t, { origins: [listed, 'http://localhost:5173'] })
  const preflight = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' }
  const allowed = await call('OPTIONS', 'messages', { as: false, headers: { origin: listed, ...preflight } })
  t.equal(allowed.status, 204)
  t.match(allowed.headers, {
    'access-control-allow-origin': listed,
    'access-control-allow-methods': /POST/,
    'access-control-allow-headers': /authorization/,
    vary: 'origin',
  })
  const get = await call('GET', 'me', { headers: { origin: listed } })
  t.match(get.headers, { 'access-control-allow-origin': listed, 'access-control-expose-headers': /x-request-id/ })
  t.notOk(get.headers['access-control-allow-credentials'])
  const refused = await call('GET', 'me', { as: false, headers: { origin: listed } })
  t.match(refused.headers, { 'access-control-allow-origin': listed }, 'errors can be read too')
  for (const origin of ['https://app.example.evil', 'http://app.example', 'null', '*', 'https://app.example:444', '']) {
    for (const reply of [
      await call('OPTIONS', 'messages', { as: false, headers: { origin, ...preflight } }),
      await call('GET', 'me', { headers: { origin } }),
    ]) {
      const names = Object.keys(reply.headers).filter((name) => name.startsWith('access-control'))
      t.same(names, [], `${origin}: no allow header`)
    }
  }
})

test('without listed origins no page may call; with * every one may', async (t) => {
  const headers = { origin: 'https://app.example' }
  t.notOk((await (await world(t)).call('GET', 'me', { headers })).headers['access-control-allow-origin'])
  const open = await world(t, { origins: ['*'] })
  t.equal((await open.call('GET', 'me', { headers })).headers['access-control-allow-origin'], '*')
})

test('what breaks is a 500 without a word of why, and one line in the log', async (t) => {
  const { send, behind, lines } = await world(t)
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  behind.accept = () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7'))
  const reply = await send(message({ content: { text: 'canary-content' } }), { headers: { traceparent } })
  isProblem(t, reply, 500, 'internal', 'broken')
  t.notMatch(reply.text, /ECONNREFUSED|10\.0\.0\.7/)
  t.match(lines, [
    {
      level: 'error',
      reqId: reply.headers['x-request-id'],
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      path: '/api/v1/messages',
      err: { message: 'connect ECONNREFUSED 10.0.0.7' },
    },
  ])
  t.equal(lines.length, 1)
})

test('the log is silent about what goes well or is refused, and never holds a secret', async (t) => {
  const w = await world(t, { limits: { slowMs: 0 } })
  const { call, send, lines, behind } = w
  await send(message({ content: { text: 'canary-content' } }))
  await send('{"canary-content":')
  await call('POST', 'auth/login', { as: false, body: { username: 'alice', password: 'canary-password' } })
  await call('GET', 'me?ticket=canary-ticket', { token: 'canary-token' })
  behind.accept = () => Promise.reject(new Error('broken'))
  await send(message({ content: { text: 'canary-content' } }))
  for (let i = 0; i < 5; i++) {
    behind.accept = () => Promise.reject(new AppError('unavailable'))
    await send(message({ content: { text: 'canary-content' } }))
  }
  const text = JSON.stringify(lines)
  t.notMatch(text, /canary/)
  t.notMatch(text, tokenOf('alice').slice(0, 30))
  const messages = lines.map(({ msg }) => msg)
  t.same(messages.filter((msg) => msg === 'a request was refused').length, 1, '503s are one line a second')
  t.same(messages.filter((msg) => msg === 'a request was slow').length, 1, 'slow ones too')
})

test('too many requests in work are refused with 503', async (t) => {
  const { send, behind, metrics } = await world(t, { limits: { inFlight: 1 } })
  const accepted = { id: '1', conversation: 'dm:alice:bob', seq: 1, sentAt: 1, duplicate: false }
  let release = (): void => {}
  const started = new Promise<void>((resolve) => {
    behind.accept = () => {
      resolve()
      return new Promise((answer) => {
        release = () => answer(accepted)
      })
    }
  })
  const first = send(message())
  await started
  const refused = await send(message())
  isProblem(t, refused, 503, 'overloaded', 'the second')
  t.match(refused.headers['retry-after'], /^[1-5]$/)
  release()
  t.equal((await first).status, 202)
  behind.accept = async () => accepted
  t.equal((await send(message())).status, 202, 'and then there is room again')
  const text = await metrics.metrics()
  t.match(text, /tidings_http_in_flight\{[^}]*\} 0/)
  t.match(text, /tidings_http_seconds_count\{[^}]*route="POST \/api\/v1\/messages",status="2xx"[^}]*\} 2/)
  t.match(text, /tidings_http_seconds_count\{[^}]*route="POST \/api\/v1\/messages",status="5xx"[^}]*\} 1/)
})

/** What may be refused when it is too much, and what may not. */
async function isShed(t: Test, { call, send }: World, about: string): Promise<void> {
  for (const [name, refused] of [
    ['a send', await send(message())],
    ['a batch', await call('POST', 'messages/batch', { body: { messages: [message()] } })],
    [
      'signing in',
      await call('POST', 'auth/login', { as: false, body: { username: 'alice', password: 'x'.repeat(12) } }),
    ],
  ] as const) {
    isProblem(t, refused, 503, 'overloaded', `${name}, ${about}`)
    t.match(refused.headers['retry-after'], /^[1-5]$/)
  }
  for (const [method, path, body] of [
    ['POST', 'conversations/dm:alice:bob/ack', { device: 'phone', seq: 1 }],
    ['POST', 'conversations/dm:alice:bob/read', { seq: 1 }],
    ['GET', 'conversations'],
    ['GET', 'conversations/dm:alice:bob/messages'],
    ['GET', 'offline?device=phone'],
  ] as const) {
    const { status } = await call(method, path, { body })
    t.ok(status === 200 || status === 204, `${method} ${path}: ${status}, ${about}`)
  }
}

test('while the event loop is late and many are in work, sends are shed; acks, reads and history never are', async (t) => {
  const w = await world(t, { limits: { loopDelayInFlight: 0 } })
  w.eventLoop.p95Ms = 201
  await isShed(t, w, 'late')
  t.same(w.drafts, [], 'nothing came to accept')
  w.eventLoop.p95Ms = 200
  t.equal((await w.send(message())).status, 202, 'in time again')
})

test('too many in work: the same', async (t) => {
  await isShed(t, await world(t, { limits: { inFlight: 0 } }), 'full')
})

test('a late event loop sheds nobody while few are in work', async (t) => {
  const w = await world(t)
  w.eventLoop.p95Ms = 10_000
  t.equal((await w.send(message())).status, 202)
})

for (const [windowMs, what] of [
  [500, 'some turns in a window'],
  [100, 'turns longer than the window'],
] as const) {
  test(`the delay of the event loop is measured, ${what}: blocked, it rises; left alone, it falls`, async (t) => {
    const loop = watchEventLoop(windowMs)
    t.teardown(() => loop.stop())
    while (loop.p95Ms <= 200) {
      for (const end = performance.now() + 300; performance.now() < end; );
      await turn()
    }
    while (loop.p95Ms > 200) await turn()
  })
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 15))

test('metrics name routes, never paths', async (t) => {
  const { call, metrics } = await world(t)
  await call('GET', 'users/canary')
  await call('GET', '/canary')
  const text = await metrics.metrics()
  t.notMatch(text, /canary/)
  t.match(text, /route="GET \/api\/v1\/users\/:id"/)
  t.match(text, /route="GET unmatched",status="4xx"/)
})
