/** Pushes at the edge: who may, what is right, what is passed on and what is answered. */

import { createLimit } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { isProblem, PUSH_TOKEN, READ_TOKEN, ROOM, SEND_TOKEN, type World, world } from './world.js'

const content = { title: 'Shipped' }
const push = (w: World, body: unknown, headers: Record<string, string> = {}) =>
  w.call('POST', 'push', { token: PUSH_TOKEN, body, headers })

test('to users, a room or everyone: it goes on as it was sent, and the answer says what became of it', async (t) => {
  const w = await world(t)
  const raw = '{"to":{"users":["alice","bob"]},"content":{"n":12345678901234567890,"b":1,"a":2},"ttl":60}'
  const users = await push(w, raw, { 'idempotency-key': 'k-1' })
  t.same([users.status, users.body], [202, { accepted: 2, duplicates: 0, refused: [] }])
  t.same(w.pushed.at(-1), [
    ['alice', 'bob'],
    {
      service: 'shop',
      type: 'system',
      content: '{"n":12345678901234567890,"b":1,"a":2}',
      clientId: 'k-1',
      ttlS: 60,
      priority: 'normal',
      collapseKey: undefined,
      trace: '',
    },
  ])
  const room = await push(w, { to: { room: ROOM }, type: 'x-build', content, priority: 'high', collapseKey: 'build' })
  t.equal(room.status, 202)
  t.match(room.body, { accepted: 1, duplicates: 0, refused: [], message: { id: '7', conversation: `room:${ROOM}` } })
  t.match(w.pushed.at(-1), [
    `room:${ROOM}`,
    { type: 'x-build', priority: 'high', collapseKey: 'build', ttlS: undefined, clientId: '' },
  ])
  const all = await push(w, { to: { all: true }, type: 'text', content: { text: 'hi' } })
  t.match(all.body, { accepted: 1, message: { conversation: 'feed:*', duplicate: false } })
  t.same(Object.keys(all.body.message).sort(), ['conversation', 'duplicate', 'id', 'sentAt', 'seq'])
})

test('each user has a result; a call that could be done for nobody is a 503', async (t) => {
  const w = await world(t)
  const missing = { user: 'bob', error: new AppError('user_not_found', 'There is no such user.') }
  const away = { user: 'carol', error: new AppError('unavailable', 'later', { retryAfter: 2 }) }
  w.behind.pushToUsers = async () => ({ accepted: 1, duplicates: 1, refused: [missing, away] })
  const body = { to: { users: ['alice', 'bob', 'carol'] }, content }
  const some = await push(w, body)
  t.equal(some.status, 202)
  t.same(some.body, {
    accepted: 1,
    duplicates: 1,
    refused: [
      { user: 'bob', code: 'user_not_found', detail: 'There is no such user.' },
      { user: 'carol', code: 'unavailable', detail: 'later' },
    ],
  })
  w.behind.pushToUsers = async () => ({ accepted: 0, duplicates: 0, refused: [missing] })
  t.match(await push(w, body), { status: 202, body: { accepted: 0 } }, 'nobody is there: nothing to repeat')
  w.behind.pushToUsers = async () => ({ accepted: 0, duplicates: 0, refused: [away, away] })
  const none = await push(w, body)
  isProblem(t, none, 503, 'unavailable', 'nothing was done')
  t.equal(none.headers['retry-after'], '2')
})

test('only a service token with the scope push may, whatever the body is', async (t) => {
  const w = await world(t)
  const body = { to: { users: ['bob'] }, content }
  isProblem(t, await w.call('POST', 'push', { body, as: false }), 401, 'unauthenticated', 'nobody')
  isProblem(t, await w.call('POST', 'push', { body }), 403, 'forbidden', 'a user')
  for (const token of [SEND_TOKEN, READ_TOKEN])
    isProblem(t, await w.call('POST', 'push', { body, token }), 403, 'forbidden', 'another scope')
  isProblem(t, await w.call('POST', 'push', { body: '{', as: 'alice' }), 403, 'forbidden', 'not even read')
  isProblem(
    t,
    await w.call('POST', 'messages', { body: { to: { user: 'bob' }, content, from: 'alice' }, token: PUSH_TOKEN }),
    403,
    'forbidden',
    'nor does push send',
  )
  t.same(w.pushed, [])
})

test('what is not right reaches nobody (8, 9)', async (t) => {
  const w = await world(t)
  const to = { users: ['bob'] }
  const wrong: [about: string, body: unknown, code?: string, status?: number][] = [
    ['no to', { content }],
    ['an empty to', { to: {}, content }],
    ['two kinds of to', { to: { users: ['bob'], all: true }, content }],
    ['nobody', { to: { users: [] }, content }],
    ['all of it false', { to: { all: false }, content }],
    ['no room', { to: { room: 'x' }, content }],
    ['no name of a user', { to: { users: ['bob', 'a b'] }, content }],
    ['too many users', { to: { users: Array.from({ length: 10_001 }, (_, i) => `u${i}`) }, content }],
    ['a user, as for messages', { to: { user: 'bob' }, content }],
    ['a feed', { to: { conversation: 'feed:bob' }, content }],
    ['no ttl', { to, content, ttl: 0 }],
    ['a ttl that is too long', { to, content, ttl: 2_592_001 }],
    ['half a second', { to, content, ttl: 0.5 }],
    ['a priority of its own', { to, content, priority: 'low' }],
    ['a key with a blank', { to, content, collapseKey: 'a b' }],
    ['a sender', { to, content, from: 'alice' }],
    ['a type of nobody', { to, content, type: 'news' }],
    ['a type of the system', { to, content, type: 'recall' }, 'forbidden', 403],
    ['no content', { to }],
    ['a content that is no object', { to, content: [] }],
    ['content with a key twice', '{"to":{"all":true},"content":{"a":1,"a":2}}', 'invalid_content'],
    ['too much content', { to, content: { text: 'x'.repeat(17_000) } }, 'content_too_large', 413],
    ['too long a body', { to, content: { text: 'x'.repeat(800_000) } }, 'payload_too_large', 413],
  ]
  for (const [about, body, code = 'invalid_request', status = 400] of wrong)
    isProblem(t, await push(w, body), status, code, about)
  isProblem(t, await push(w, { to, content }, { 'idempotency-key': 'a b' }), 400, 'invalid_request', 'a key')
  t.same(w.pushed, [])
  const most = { to: { users: Array.from({ length: 10_000 }, (_, i) => `${'u'.repeat(58)}${i}`) }, content }
  t.match(await push(w, most), { status: 202, body: { accepted: 10_000 } }, 'the most users, with long names')
})

test('each user of a push counts, all or none', async (t) => {
  let now = 0
  const limit = createLimit(
    { perS: 10, burst: 20 },
    () => new Promise(() => {}),
    () => now,
  )
  const w = await world(t, { rates: { pushes: ({ user }, wanted) => limit.takeAll(user, wanted) } })
  const users = (count: number) => ({ to: { users: Array.from({ length: count }, (_, i) => `u${i}`) }, content })
  t.equal((await push(w, users(15))).status, 202)
  const early = await push(w, users(15))
  isProblem(t, early, 429, 'rate_limited', 'too early')
  t.equal(early.headers['retry-after'], '1', 'ten more are there in a second')
  t.equal((await push(w, { to: { all: true }, content })).status, 202, 'one entry counts once')
  now = 2_000
  t.equal((await push(w, users(30))).status, 202, 'more than a burst, from a full bucket')
  const owed = await push(w, { to: { all: true }, content })
  isProblem(t, owed, 429, 'rate_limited', 'what was let pass too much is waited for')
  t.equal(w.pushed.length, 3)
})
