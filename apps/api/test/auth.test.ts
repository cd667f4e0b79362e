/** Tokens, sessions, profiles. The tokens themselves (row 27) are tested where they are verified; here is what the edge does with them. */

import { createSeenUsers, type Identity } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { away, isProblem, message, mint, READ_TOKEN, SEND_TOKEN, tokenOf, world } from './world.js'

const soon = (): number => Math.floor(Date.now() / 1_000) + 60

test('without a valid token there is one answer, on every route that needs one (27)', async (t) => {
  const { call, drafts, calls, revoked } = await world(t)
  const routes = [
    ['GET', 'me'],
    ['PATCH', 'me'],
    ['DELETE', 'me'],
    ['GET', 'users/bob'],
    ['POST', 'messages'],
    ['POST', 'messages/batch'],
    ['GET', 'conversations'],
    ['GET', 'conversations/dm:alice:bob/messages'],
    ['POST', 'auth/logout'],
    ['POST', 'auth/ws-ticket'],
  ] as const
  for (const [method, path] of routes) {
    const reply = await call(method, path, { as: false })
    isProblem(t, reply, 401, 'unauthenticated', `${method} ${path}`)
    t.equal(reply.headers['www-authenticate'], 'Bearer')
  }
  revoked.add('gone')
  const bad = [
    'nonsense',
    mint({ sub: 'alice', exp: soon() }, { alg: 'none' }),
    mint({ sub: 'alice' }),
    mint({ exp: soon() }),
    mint({ sub: 'a:b', exp: soon() }),
    mint({ sub: 'alice', exp: soon() - 120 }),
    tokenOf('alice', { iss: 'tidings', sid: 'gone' }),
    `${tokenOf('alice').slice(0, -4)}AAAA`,
  ]
  for (const token of bad) isProblem(t, await call('GET', 'me', { token }), 401, 'unauthenticated', token.slice(0, 60))
  for (const authorization of ['Basic YTpi', tokenOf('alice'), 'Bearer', `Bearer ${tokenOf('alice')}, Bearer x`]) {
    const reply = await call('GET', 'me', { as: false, headers: { authorization } })
    isProblem(t, reply, 401, 'unauthenticated', authorization.slice(0, 30))
  }
  t.same([drafts, calls], [[], []], 'nothing behind was asked')
  const lower = await call('GET', 'me', { as: false, headers: { authorization: `bearer ${tokenOf('alice')}` } })
  t.equal(lower.status, 200, 'the scheme may be in lower case')
})

test('a token in the query is not taken', async (t) => {
  const { call } = await world(t)
  isProblem(t, await call('GET', `me?token=${tokenOf('alice')}`, { as: false }), 401, 'unauthenticated', 'query')
})

test('a token is checked before the body is read', async (t) => {
  const { call } = await world(t)
  isProblem(t, await call('POST', 'messages', { as: false, body: '{' }), 401, 'unauthenticated', 'a broken body')
})

test('register, login and refresh answer with the grant and an access token of ours', async (t) => {
  const { call, calls } = await world(t)
  const register = { username: 'alice', password: 'correct horse', displayName: 'Alice' }
  const requests = [
    ['register', 201, register, register],
    [
      'register',
      201,
      { username: 'bob', password: '12345678' },
      { username: 'bob', password: '12345678', displayName: '' },
    ],
    ['login', 200, { username: 'alice', password: 'x' }, { username: 'alice', password: 'x', device: '' }],
    ['login', 200, { username: 'no such:name', password: 'x', device: 'tab' }, { device: 'tab' }],
    ['refresh', 200, { refreshToken: 'r' }, { refreshToken: 'r' }],
  ] as const
  for (const [call_, status, body, asked] of requests) {
    const reply = await call('POST', `auth/${call_}`, { as: false, body })
    t.equal(reply.status, status)
    t.match(reply.body, { user: { id: 'alice', displayName: 'alice' }, refreshToken: 'refresh-1', expiresIn: 600 })
    t.match(calls.at(-1), [call_, asked])
    const [header, claims] = reply.body.accessToken
      .split('.')
      .slice(0, 2)
      .map((part: string) => JSON.parse(Buffer.from(part, 'base64url').toString()))
    t.same(header, { alg: 'HS256', typ: 'at+jwt' })
    t.same(Object.keys(claims).sort(), ['exp', 'iat', 'iss', 'sid', 'sub'])
    t.match(claims, { iss: 'tidings', sub: 'alice', sid: 'session-1', exp: claims.iat + 600 })
    t.equal((await call('GET', 'me', { token: reply.body.accessToken })).status, 200, 'and it works')
  }
})

test('bad bodies do not reach logic (1, 7, 8, 9, 10, 28)', async (t) => {
  const { call, calls } = await world(t)
  const good = { username: 'alice', password: 'correct horse' }
  const bad: [string, unknown, number, string][] = [
    ['register', { ...good, username: 'a:b' }, 400, 'invalid_request'],
    ['register', { ...good, username: 'a\u0000' }, 400, 'invalid_request'],
    ['register', { ...good, username: 5 }, 400, 'invalid_request'],
    ['register', { ...good, password: '1234567' }, 400, 'invalid_request'],
    ['register', { ...good, password: 'x'.repeat(129) }, 400, 'invalid_request'],
    ['register', { ...good, password: 'x'.repeat(1024 * 1024) }, 413, 'payload_too_large'],
    ['register', { ...good, admin: true }, 400, 'invalid_request'],
    ['register', '{"username":"alice","password":"12345678","password":"87654321"}', 400, 'invalid_json'],
    ['register', '{"username":"alice","password":"\\ud80012345678"}', 400, 'invalid_json'],
    ['register', '', 400, 'invalid_json'],
    ['login', { username: 'alice' }, 400, 'invalid_request'],
    ['login', { ...good, password: 'x'.repeat(60_000) }, 400, 'invalid_request'],
    ['login', { ...good, device: '../' }, 400, 'invalid_request'],
    ['login', `{"username":"alice","password":${'['.repeat(8_000)}${']'.repeat(8_000)}}`, 400, 'invalid_json'],
    ['refresh', {}, 400, 'invalid_request'],
    ['refresh', { refreshToken: '' }, 400, 'invalid_request'],
    ['refresh', { refreshToken: ['r'] }, 400, 'invalid_request'],
  ]
  for (const [path, body, status, code] of bad) {
    const about = `${path} ${JSON.stringify(body).slice(0, 70)}`
    isProblem(t, await call('POST', `auth/${path}`, { as: false, body }), status, code, about)
  }
  t.same(calls, [])
})

test('the errors of logic keep their codes', async (t) => {
  const { call, behind } = await world(t)
  const body = { username: 'alice', password: 'correct horse' }
  const cases = [
    ['invalid_credentials', 401],
    ['username_taken', 409],
    ['registration_closed', 403],
    ['unavailable', 503],
  ] as const
  for (const [code, status] of cases) {
    behind.grant = () => {
      throw new AppError(code)
    }
    const reply = await call('POST', 'auth/login', { as: false, body })
    isProblem(t, reply, status, code, code)
    if (status === 401) t.equal(reply.headers['www-authenticate'], 'Bearer')
    if (status === 503) t.equal(reply.headers['retry-after'], '1')
  }
})

test('logout ends the session of the token', async (t) => {
  const { call, calls } = await world(t)
  const token = tokenOf('alice', { iss: 'tidings', sid: 'session-9' })
  for (const options of [{}, { headers: { 'content-type': 'application/json' } }]) {
    const reply = await call('POST', 'auth/logout', { token, ...options })
    t.same([reply.status, reply.text], [204, ''])
    t.same(calls.at(-1), ['logout', { user: 'alice', sessionId: 'session-9' }])
  }
  isProblem(t, await call('POST', 'auth/logout'), 400, 'invalid_request', 'a token that was made elsewhere')
  isProblem(t, await call('POST', 'auth/logout', { token: SEND_TOKEN }), 403, 'forbidden', 'a service')
})

test('a ticket is issued for the identity of the token', async (t) => {
  const { call, ticketed } = await world(t)
  const reply = await call('POST', 'auth/ws-ticket', { token: tokenOf('alice', { iss: 'tidings', sid: 'session-9' }) })
  t.equal(reply.status, 201)
  t.same(reply.body, { ticket: 'ticket-1', expiresIn: 60 })
  t.match(ticketed, [{ user: 'alice', sessionId: 'session-9' }])
  isProblem(t, await call('POST', 'auth/ws-ticket', { token: SEND_TOKEN }), 403, 'forbidden', 'a service')
})

test('a profile is changed, and an account deleted, by its own user only (1, 8, 9)', async (t) => {
  const { call, calls } = await world(t)
  const reply = await call('PATCH', 'me', { body: { displayName: 'Alice' } })
  t.same([reply.status, reply.body.displayName], [200, 'Alice'])
  t.same(calls.at(-1), ['updateUser', { user: 'alice', displayName: 'Alice' }])
  const asked = calls.length
  const bad: unknown[] = ['', '{', [], {}, { displayName: '' }, { displayName: 'x'.repeat(101) }, { displayName: null }]
  bad.push({ displayName: 'x', user: 'bob' }, '{"displayName":"a","displayName":"b"}')
  for (const body of bad) {
    const about = JSON.stringify(body).slice(0, 60)
    isProblem(t, await call('PATCH', 'me', { body }), 400, /invalid_(json|request)/, about)
  }
  isProblem(t, await call('DELETE', 'me?user=bob'), 400, 'invalid_request', 'somebody else')
  for (const token of [SEND_TOKEN, READ_TOKEN]) {
    isProblem(t, await call('PATCH', 'me', { token, body: { displayName: 'x' } }), 403, 'forbidden', 'a service')
    isProblem(t, await call('DELETE', 'me', { token }), 403, 'forbidden', 'a service')
  }
  t.equal(calls.length, asked, 'logic was not asked')
  const gone = await call('DELETE', 'me')
  t.same([gone.status, gone.text], [204, ''])
  t.same(calls.at(-1), ['deleteUser', { user: 'alice' }])
})

test('profiles: mine and others; a service needs the scope read', async (t) => {
  const { call, behind, calls } = await world(t)
  t.same((await call('GET', 'me')).body, { id: 'alice', displayName: 'alice', createdAt: 1_700_000_000_000 })
  t.match((await call('GET', 'users/bob')).body, { id: 'bob' })
  t.match((await call('GET', 'users/bob', { token: READ_TOKEN })).body, { id: 'bob' })
  isProblem(t, await call('GET', 'users/bob', { token: SEND_TOKEN }), 403, 'forbidden', 'without the scope')
  isProblem(t, await call('GET', 'me', { token: READ_TOKEN }), 403, 'forbidden', 'a service has no profile')
  isProblem(t, await call('GET', 'me?x=1'), 400, 'invalid_request', 'an unknown parameter')
  const asked = calls.length
  for (const id of ['a%3Ab', '%00', '..%2f..%2fetc', 'x'.repeat(65), '%F0%9F%98%80', 'bob%0a']) {
    isProblem(t, await call('GET', `users/${id}`), 404, 'user_not_found', id)
  }
  isProblem(t, await call('GET', `users/${'x'.repeat(300)}`), 404, 'not_found', 'a very long id')
  t.equal(calls.length, asked, 'logic is not asked for impossible names')
  behind.getUser = () => Promise.reject(new AppError('user_not_found'))
  isProblem(t, await call('GET', 'users/nobody'), 404, 'user_not_found', 'an unknown one')
})

test('a user is introduced to logic once, however many requests come at once', async (t) => {
  const { call, send, calls, drafts, behind } = await world(t)
  await Promise.all([send(message()), send(message()), call('GET', 'me')])
  await send(message())
  const seen = calls.filter(([method]) => method === 'seeUser')
  t.same(seen, [['seeUser', { user: 'alice' }]])
  behind.seeUser = () => Promise.reject(away())
  t.equal((await send(message())).status, 202, 'who is known goes on while logic is away')
  const before = drafts.length
  const unknown = await send(message(), { as: 'newcomer' })
  isProblem(t, unknown, 503, 'unavailable', 'who is not known waits')
  t.equal(unknown.headers['retry-after'], '2')
  behind.seeUser = () => Promise.reject(new AppError('user_disabled'))
  isProblem(t, await send(message(), { as: 'mallory' }), 403, 'user_disabled', 'a disabled user')
  t.equal(drafts.length, before)
})

test('a known user is asked about again after five minutes, and stays known while logic is away', async (t) => {
  const alice: Identity = { user: 'alice', sessionId: undefined, expiresAt: 0, scopes: undefined }
  let time = 0
  let answer = (): Promise<void> => Promise.resolve()
  const seen = createSeenUsers(
    () => answer(),
    () => time,
  )
  await seen.check(alice)
  t.equal(seen.check(alice), undefined)
  time += 300_001
  answer = () => Promise.reject(away())
  await seen.check(alice)
  answer = () => Promise.reject(new AppError('user_disabled'))
  await t.rejects(Promise.resolve(seen.check(alice)), { code: 'user_disabled' })
  answer = () => Promise.reject(away())
  await t.rejects(Promise.resolve(seen.check(alice)), { code: 'unavailable' }, 'and then is not known any more')
})
