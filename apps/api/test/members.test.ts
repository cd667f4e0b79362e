/** Members and bans. What all routes of rooms have in common is in rooms.test.ts. */
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { isProblem, memberOf, ROOM, world } from './world.js'

const MEMBERS = `rooms/${ROOM}/members`
const BANS = `rooms/${ROOM}/bans`
const LATER = Date.now() + 3_600_000
const BOB = { user: 'bob', displayName: 'Bob', role: 'member', mutedUntil: null, joinedAt: 1_763_700_000_000 }

test('members in pages; a muting that is over is none', async (t) => {
  const { call, calls, behind } = await world(t)
  t.same((await call('GET', MEMBERS)).body, { members: [], nextCursor: null })
  t.same(calls.at(-1), ['listMembers', { user: 'alice', room: ROOM, cursor: '', limit: 50 }])
  behind.listMembers = () => ({
    members: [
      memberOf({}),
      memberOf({ user: 'carol', role: 'admin', mutedUntil: LATER }),
      memberOf({ user: 'dora', role: 'owner', mutedUntil: 1_763_700_000_001 }),
    ],
    nextCursor: 'next',
  })
  const reply = await call('GET', `${MEMBERS}?cursor=abc&limit=200`)
  t.same(calls.at(-1), ['listMembers', { user: 'alice', room: ROOM, cursor: 'abc', limit: 200 }])
  t.same(reply.body, {
    members: [
      BOB,
      { ...BOB, user: 'carol', role: 'admin', mutedUntil: LATER },
      { ...BOB, user: 'dora', role: 'owner' },
    ],
    nextCursor: 'next',
  })
})

test('who is banned, in pages', async (t) => {
  const { call, calls, behind } = await world(t)
  t.same((await call('GET', BANS)).body, { users: [], nextCursor: null })
  behind.listBans = () => ({ users: ['eve', 'mallory'], nextCursor: 'next' })
  const reply = await call('GET', `${BANS}?cursor=abc&limit=2`)
  t.same(calls.at(-1), ['listBans', { user: 'alice', room: ROOM, cursor: 'abc', limit: 2 }])
  t.same(reply.body, { users: ['eve', 'mallory'], nextCursor: 'next' })
})

test('a bad page is 400', async (t) => {
  const { call, calls } = await world(t)
  for (const path of [MEMBERS, BANS]) {
    for (const query of ['limit=0', 'limit=201', 'limit=x', 'role=admin', `cursor=${'x'.repeat(513)}`]) {
      isProblem(t, await call('GET', `${path}?${query}`), 400, 'invalid_request', `${path} ${query.slice(0, 20)}`)
    }
  }
  t.notOk(calls.some(([method]) => method !== 'seeUser'))
})

test('many are added at once, up to 200', async (t) => {
  const { call, calls } = await world(t)
  const users = Array.from({ length: 200 }, (_, i) => `user${i}`)
  const reply = await call('POST', MEMBERS, { body: { users } })
  t.match([reply.status, reply.body], [200, { id: ROOM, members: 2 }])
  t.same(calls.at(-1), ['addMembers', { user: 'alice', room: ROOM, members: users }])
  const before = calls.length
  for (const [about, body] of [
    ['nobody', { users: [] }],
    ['201', { users: [...users, 'one-more'] }],
    ['no list', { users: 'bob' }],
    ['nothing', {}],
    ['a user that is none', { users: ['bob', ''] }],
    ['a number', { users: [7] }],
    ['null', { users: [null] }],
    ['a role', { users: ['bob'], role: 'admin' }],
    ['a list', ['bob']],
  ] as const) {
    isProblem(t, await call('POST', MEMBERS, { body }), 400, 'invalid_request', about)
  }
  isProblem(t, await call('POST', MEMBERS), 400, 'invalid_request', 'no body')
  t.equal(calls.length, before, 'logic was not asked')
})

test('a member is set: what is left out stays as it is, and null ends a muting', async (t) => {
  const { call, calls, behind } = await world(t)
  const asked = async (body: object, over: Partial<ReturnType<typeof memberOf>> = {}) => {
    behind.member = () => memberOf(over)
    const reply = await call('PUT', `${MEMBERS}/bob`, { body })
    t.equal(reply.status, 200, JSON.stringify(body))
    t.equal(calls.at(-1)![0], 'setMember')
    return [calls.at(-1)![1], reply.body]
  }
  const base = { user: 'alice', room: ROOM, member: 'bob', role: '' }
  t.strictSame(await asked({}), [base, BOB])
  t.strictSame(await asked({ role: 'admin' }, { role: 'admin' }), [
    { ...base, role: 'admin' },
    { ...BOB, role: 'admin' },
  ])
  t.strictSame(await asked({ mutedUntil: LATER }, { mutedUntil: LATER }), [
    { ...base, mutedUntil: LATER },
    { ...BOB, mutedUntil: LATER },
  ])
  t.strictSame(await asked({ mutedUntil: null }), [{ ...base, mutedUntil: 0 }, BOB])
  t.strictSame(await asked({ mutedUntil: 0 }), [{ ...base, mutedUntil: 0 }, BOB])
  t.strictSame(await asked({ role: 'member', mutedUntil: Number.MAX_SAFE_INTEGER }), [
    { ...base, role: 'member', mutedUntil: Number.MAX_SAFE_INTEGER },
    BOB,
  ])
})

test('a member that cannot be set is 400, and logic is not asked', async (t) => {
  const { call, calls } = await world(t)
  const bodies = [
    ...['{"role":"boss"}', '{"role":""}', '{"role":null}', '{"role":["admin"]}', '{"user":"bob"}', '{"muted":true}'],
    ...['-1', '1.5', '"1"', 'true', '[]', '9007199254740992', '1e400'].map((at) => `{"mutedUntil":${at}}`),
    ...['[]', 'null', '"admin"'],
  ]
  for (const body of bodies) isProblem(t, await call('PUT', `${MEMBERS}/bob`, { body }), 400, 'invalid_request', body)
  isProblem(t, await call('PUT', `${MEMBERS}/bob`), 400, 'invalid_request', 'no body')
  const twice = '{"role":"member","role":"owner"}'
  isProblem(t, await call('PUT', `${MEMBERS}/bob`, { body: twice }), 400, 'invalid_json', 'doubled')
  t.notOk(calls.some(([method]) => method === 'setMember'))
})

test('removing, banning and lifting a ban are 204', async (t) => {
  const { call, calls } = await world(t)
  for (const [method, path, rpc] of [
    ['DELETE', `${MEMBERS}/bob`, 'removeMember'],
    ['PUT', `${BANS}/bob`, 'ban'],
    ['DELETE', `${BANS}/bob`, 'unban'],
  ] as const) {
    const reply = await call(method, path)
    t.same([reply.status, reply.text], [204, ''], rpc)
    t.same(calls.at(-1), [rpc, { user: 'alice', room: ROOM, member: 'bob' }])
    const typed = await call(method, path, { headers: { 'content-type': 'application/json' } })
    t.equal(typed.status, 204, 'with the type of a body that is not there')
  }
})

test('what cannot be a user is not there', async (t) => {
  const { call, calls } = await world(t)
  for (const [method, path, body] of [
    ['PUT', MEMBERS, {}],
    ['DELETE', MEMBERS, undefined],
    ['PUT', BANS, undefined],
    ['DELETE', BANS, undefined],
  ] as const) {
    for (const user of ['a%20b', 'a:b', 'x'.repeat(65), 'bob%0a', '%00', '\u{1f600}']) {
      isProblem(t, await call(method, `${path}/${user}`, { body }), 404, 'user_not_found', `${method} ${user}`)
    }
  }
  t.equal((await call('PUT', `${MEMBERS}/a@b.c`, { body: {} })).status, 200, 'a name with all that a name may have')
  t.same(calls.at(-1), ['setMember', { user: 'alice', room: ROOM, member: 'a@b.c', role: '' }])
})

test('a message to a room where one is muted is 403 and says until when, in a batch too', async (t) => {
  const { send, call, behind } = await world(t)
  const to = { room: ROOM }
  behind.accept = () => Promise.reject(new AppError('muted', undefined, { details: { mutedUntil: LATER } }))
  const reply = await send({ to, content: {} })
  isProblem(t, reply, 403, 'muted', 'muted')
  t.equal(reply.body.mutedUntil, LATER)
  const batch = await call('POST', 'messages/batch', { body: { messages: [{ to, content: {} }] } })
  t.match(batch.body.results, [{ code: 'muted', status: 403, mutedUntil: LATER }])
  behind.accept = () => Promise.reject(new AppError('conversation_not_found'))
  isProblem(t, await send({ to, content: {} }), 404, 'conversation_not_found', 'not in it')
  const { paths } = (await call('GET', 'openapi.json')).body
  t.match(paths['/api/v1/messages'].post.responses[403].description, '`muted`')
})
