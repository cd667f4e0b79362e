/** Rooms: making, finding, changing, ending, joining, leaving; and what all routes of rooms have in common. */
import { AppError, type ErrorCode, errorTable } from '@tidings/protocol'
import { test } from 'tap'
import { away, isProblem, READ_TOKEN, ROOM, roomOf, SEND_TOKEN, world } from './world.js'

const JSON_ROOM = {
  id: ROOM,
  conversation: `room:${ROOM}`,
  name: 'Team',
  kind: 'permanent',
  visibility: 'private',
  history: 'joined',
  members: 2,
  createdAt: 1_763_700_000_000,
  endsAt: null,
  retentionDays: null,
  version: 1,
  role: 'owner',
}

interface Row {
  method: string
  path: string
  rpc: string
  body?: object
  /** Codes beside those that every route of a room has. */
  codes?: readonly ErrorCode[]
}
const ADDING = ['user_not_found', 'banned', 'room_full'] as const
/** Every route that names a room. */
const ROUTES: readonly Row[] = [
  { method: 'GET', path: '', rpc: 'getRoom' },
  { method: 'PATCH', path: '', rpc: 'updateRoom', body: { name: 'New' } },
  { method: 'DELETE', path: '', rpc: 'deleteRoom' },
  { method: 'POST', path: '/join', rpc: 'joinRoom', codes: ['banned', 'room_full'] },
  { method: 'POST', path: '/leave', rpc: 'leaveRoom' },
  { method: 'GET', path: '/members', rpc: 'listMembers' },
  { method: 'POST', path: '/members', rpc: 'addMembers', body: { users: ['bob'] }, codes: ADDING },
  { method: 'PUT', path: '/members/bob', rpc: 'setMember', body: {}, codes: ADDING },
  { method: 'DELETE', path: '/members/bob', rpc: 'removeMember', codes: ['user_not_found'] },
  { method: 'GET', path: '/bans', rpc: 'listBans' },
  { method: 'PUT', path: '/bans/bob', rpc: 'ban', codes: ['user_not_found'] },
  { method: 'DELETE', path: '/bans/bob', rpc: 'unban', codes: ['user_not_found'] },
]

test('a room is made as it was asked for, and its answer is that of the contract', async (t) => {
  const { call, calls } = await world(t)
  const reply = await call('POST', 'rooms', { body: { name: 'Team' } })
  t.equal(reply.status, 201)
  t.same(reply.body, JSON_ROOM)
  const plain = { user: 'alice', name: 'Team', kind: 'permanent', visibility: 'private' }
  t.same(calls.at(-1), ['createRoom', { ...plain, history: '', members: [], ttlS: 0 }], 'what was left out')
  const body = {
    name: 'Party',
    kind: 'temporary',
    visibility: 'public',
    history: 'joined',
    members: ['bob'],
    ttl: 3600,
  }
  t.equal((await call('POST', 'rooms', { body })).status, 201)
  const { ttl, ...rest } = body
  t.same(calls.at(-1), ['createRoom', { user: 'alice', ...rest, ttlS: ttl }])
  const most = {
    name: '\u{1f600}'.repeat(100),
    kind: 'temporary',
    members: Array.from({ length: 200 }, (_, i) => `user${i}`),
    ttl: 31_536_000,
  }
  t.equal((await call('POST', 'rooms', { body: most })).status, 201, 'as much as is allowed')
})

test('a room as logic sees it, as JSON', async (t) => {
  const { call, behind } = await world(t)
  const ends = { kind: 'temporary', visibility: 'public', history: 'all', endsAt: 1_763_703_600_000, version: 2 ** 40 }
  behind.room = () => roomOf({ ...ends, name: 'A "room"\n\u2028', role: '' })
  const reply = await call('GET', `rooms/${ROOM}`)
  t.equal(reply.status, 200)
  t.same(reply.body, { ...JSON_ROOM, ...ends, name: 'A "room"\n\u2028', role: null }, 'for one who is not in it')
})

test('a room that cannot be made is 400, and logic is not asked', async (t) => {
  const { call, calls } = await world(t)
  const bad: [string, unknown][] = [
    ['no name', {}],
    ['an empty name', { name: '' }],
    ['a long name', { name: 'x'.repeat(101) }],
    ['a long name of emoji', { name: '\u{1f600}'.repeat(101) }],
    ['a blank name', { name: ' \u2003\t' }],
    ['a name of two lines', { name: 'a\nb' }],
    ['a line separator in a name', { name: 'a\u2028b' }],
    ['NUL in a name', { name: 'a\u0000' }],
    ['a name that turns the reading direction', { name: 'a\u202eb' }],
    ['a number as name', { name: 7 }],
    ['null as name', { name: null }],
    ['another kind', { name: 'x', kind: 'eternal' }],
    ['another visibility', { name: 'x', visibility: 'Public' }],
    ['another history', { name: 'x', history: 'none' }],
    ['an empty history', { name: 'x', history: '' }],
    ['members that are none', { name: 'x', members: 'bob' }],
    ['a member that is none', { name: 'x', members: ['bob', 'a:b'] }],
    ['201 members', { name: 'x', members: Array.from({ length: 201 }, (_, i) => `user${i}`) }],
    ['ttl of a permanent room', { name: 'x', ttl: 60 }],
    ['ttl of a permanent room that says so', { name: 'x', kind: 'permanent', ttl: 60 }],
    ['a ttl under a minute', { name: 'x', kind: 'temporary', ttl: 59 }],
    ['ttl 0', { name: 'x', kind: 'temporary', ttl: 0 }],
    ['a negative ttl', { name: 'x', kind: 'temporary', ttl: -1 }],
    ['a fraction as ttl', { name: 'x', kind: 'temporary', ttl: 1.5 }],
    ['ttl as text', { name: 'x', kind: 'temporary', ttl: '60' }],
    ['ttl null', { name: 'x', kind: 'temporary', ttl: null }],
    ['more than a year', { name: 'x', kind: 'temporary', ttl: 31_536_001 }],
    ['an id of my own', { name: 'x', id: ROOM }],
    ['an owner', { name: 'x', owner: 'bob' }],
    ['a list', [{ name: 'x' }]],
    ['null', null],
  ]
  for (const [about, body] of bad) {
    isProblem(t, await call('POST', 'rooms', { body: JSON.stringify(body) }), 400, 'invalid_request', about)
  }
  isProblem(t, await call('POST', 'rooms', { body: '{"name":"x","name":"y"}' }), 400, 'invalid_json', 'doubled')
  isProblem(t, await call('POST', 'rooms', { body: '{"name":"\\ud800"}' }), 400, 'invalid_json', 'half a pair')
  isProblem(t, await call('POST', 'rooms', { body: '{' }), 400, 'invalid_json', 'no JSON')
  isProblem(t, await call('POST', 'rooms'), 400, 'invalid_request', 'no body')
  const form = { body: 'name=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
  isProblem(t, await call('POST', 'rooms', form), 415, 'unsupported_media_type', 'a form')
  t.same(
    calls.filter(([method]) => method !== 'seeUser'),
    [],
  )
})

test('what logic refuses in a new room is told', async (t) => {
  const { call, behind } = await world(t)
  for (const code of ['invalid_request', 'user_not_found', 'outcome_unknown', 'unavailable'] as const) {
    behind.room = () => {
      throw new AppError(code, 'not like this', { details: { users: ['nobody'] } })
    }
    const reply = await call('POST', 'rooms', { body: { name: 'x', members: ['nobody'] } })
    isProblem(t, reply, errorTable[code].http, code, code)
    t.match(reply.body, { detail: 'not like this', users: ['nobody'] })
  }
})

test('rooms by name, in pages', async (t) => {
  const { call, calls, behind } = await world(t)
  t.same((await call('GET', 'rooms')).body, { rooms: [], nextCursor: null })
  t.same(calls.at(-1), ['searchRooms', { user: 'alice', query: '', cursor: '', limit: 50 }])
  behind.searchRooms = () => ({
    rooms: [roomOf({}), roomOf({ id: 'abcdefghijklmno_', visibility: 'public', role: '' })],
    nextCursor: 'next"page',
  })
  const reply = await call('GET', 'rooms?q=te%20am%25&cursor=abc&limit=100')
  t.same(calls.at(-1), ['searchRooms', { user: 'alice', query: 'te am%', cursor: 'abc', limit: 100 }])
  t.same(reply.body, {
    rooms: [
      JSON_ROOM,
      {
        ...JSON_ROOM,
        id: 'abcdefghijklmno_',
        conversation: 'room:abcdefghijklmno_',
        visibility: 'public',
        role: null,
      },
    ],
    nextCursor: 'next"page',
  })
  for (const query of [
    ...['limit=0', 'limit=101', 'limit=x', 'name=x', 'q=a&q=b', `q=${'x'.repeat(101)}`],
    `cursor=${'x'.repeat(513)}`,
  ]) {
    isProblem(t, await call('GET', `rooms?${query}`), 400, 'invalid_request', query.slice(0, 20))
  }
  behind.searchRooms = () => {
    throw away()
  }
  isProblem(t, await call('GET', 'rooms'), 503, 'unavailable', 'away')
})

test('a room is changed in what is given, and in nothing else', async (t) => {
  const { call, calls, behind } = await world(t)
  behind.room = () => roomOf({ name: 'New', version: 2 })
  const reply = await call('PATCH', `rooms/${ROOM}`, { body: { name: 'New' } })
  t.same([reply.status, reply.body], [200, { ...JSON_ROOM, name: 'New', version: 2 }])
  const nothing = { user: 'alice', room: ROOM, name: '', visibility: '', history: '' }
  t.same(calls.at(-1), ['updateRoom', { ...nothing, name: 'New' }])
  await call('PATCH', `rooms/${ROOM}`, { body: { visibility: 'public', history: 'all' } })
  t.same(calls.at(-1), ['updateRoom', { ...nothing, visibility: 'public', history: 'all' }])
  const before = calls.length
  for (const body of [
    ...[
      {},
      [],
      { name: '' },
      { name: ' ' },
      { name: 'a\u0007' },
      { name: 'x'.repeat(101) },
      { name: null },
      { visibility: 'secret' },
      { history: '' },
    ],
    ...[{ kind: 'temporary' }, { ttl: 60 }, { name: 'x', members: ['bob'] }, { name: 'x', version: 3 }],
  ]) {
    isProblem(t, await call('PATCH', `rooms/${ROOM}`, { body }), 400, 'invalid_request', JSON.stringify(body))
  }
  isProblem(t, await call('PATCH', `rooms/${ROOM}`), 400, 'invalid_request', 'no body')
  t.equal(calls.length, before, 'logic was not asked')
})

test('ending, joining and leaving', async (t) => {
  const { call, calls } = await world(t)
  const asked = { user: 'alice', room: ROOM }
  const ended = await call('DELETE', `rooms/${ROOM}`)
  t.same([ended.status, ended.text, calls.at(-1)], [204, '', ['deleteRoom', asked]])
  const joined = await call('POST', `rooms/${ROOM}/join`)
  t.same([joined.status, joined.body, calls.at(-1)], [200, JSON_ROOM, ['joinRoom', asked]])
  const left = await call('POST', `rooms/${ROOM}/leave`)
  t.same([left.status, left.text, calls.at(-1)], [204, '', ['leaveRoom', asked]])
  for (const path of ['join', 'leave']) {
    const typed = await call('POST', `rooms/${ROOM}/${path}`, { headers: { 'content-type': 'application/json' } })
    t.ok(typed.status < 300, `${path} with the type of a body that is not there`)
  }
})

test('every route: codes of logic pass through and are documented, and what cannot be a room is not there', async (t) => {
  const { call, calls, behind } = await world(t)
  const willing = { ...behind }
  const { paths } = (await call('GET', 'openapi.json')).body
  for (const { method, path, rpc, body, codes = [] } of ROUTES) {
    const at = `${method} ${path}`
    const changes = method === 'GET' ? [] : (['outcome_unknown'] as const)
    const given = body && { body }
    t.ok((await call(method, `rooms/${ROOM}${path}`, given)).status < 300, at)
    t.match(calls.at(-1), [rpc, { user: 'alice', room: ROOM }], at)
    const { responses } = paths[`/api/v1/rooms/{id}${path.replace('bob', '{user}')}`][method.toLowerCase()]
    for (const code of ['room_not_found', 'forbidden', 'unavailable', ...changes, ...codes] as const) {
      const refuse = () => {
        throw new AppError(code, undefined, { retryAfter: 2 })
      }
      behind.room = behind.member = behind.listMembers = behind.listBans = behind.changeRoom = refuse
      const status = errorTable[code].http
      isProblem(t, await call(method, `rooms/${ROOM}${path}`, given), status, code, `${at}: ${code}`)
      t.match(responses[status]?.description, `\`${code}\``, `${at}: ${code} is documented`)
    }
    Object.assign(behind, willing)
    const before = calls.length
    for (const id of ['x', 'x'.repeat(15), 'x'.repeat(17), `room:${ROOM}`, `${ROOM}%0a`, 'abcdefghijklmno:', '%00']) {
      const reply = await call(method, `rooms/${id}${path}`, given)
      isProblem(t, reply, 404, 'room_not_found', `${at}: the room ${id}`)
      t.equal(reply.body.detail, 'There is no such room, or you are not in it.', 'as logic says it')
    }
    for (const token of [SEND_TOKEN, READ_TOKEN]) {
      isProblem(
        t,
        await call(method, `rooms/${ROOM}${path}`, { ...given, token }),
        403,
        'forbidden',
        `${at}: a service`,
      )
    }
    isProblem(t, await call(method, `rooms/${ROOM}${path}`, { ...given, as: false }), 401, 'unauthenticated', at)
    t.equal(calls.length, before, `${at}: logic was not asked`)
  }
  for (const [method, body] of [
    ['GET', undefined],
    ['POST', { name: 'x' }],
  ] as const) {
    isProblem(t, await call(method, 'rooms', { body, token: SEND_TOKEN }), 403, 'forbidden', 'a service')
    isProblem(t, await call(method, 'rooms', { body, as: false }), 401, 'unauthenticated', 'nobody')
  }
})

test('what is not here is 404, and another method is 405 with Allow', async (t) => {
  const { call } = await world(t)
  const others = [
    ['PUT', 'rooms', 'GET, HEAD, POST'],
    ['POST', `rooms/${ROOM}`, 'DELETE, GET, HEAD, PATCH'],
    ['GET', `rooms/${ROOM}/join`, 'POST'],
    ['DELETE', `rooms/${ROOM}/leave`, 'POST'],
    ['PUT', `rooms/${ROOM}/members`, 'GET, HEAD, POST'],
    ['PATCH', `rooms/${ROOM}/members/bob`, 'DELETE, PUT'],
    ['POST', `rooms/${ROOM}/bans`, 'GET, HEAD'],
    ['GET', `rooms/${ROOM}/bans/bob`, 'DELETE, PUT'],
  ] as const
  for (const [method, path, allow] of others) {
    const reply = await call(method, path)
    isProblem(t, reply, 405, 'method_not_allowed', `${method} ${path}`)
    t.equal(reply.headers.allow, allow, `${method} ${path}`)
  }
  for (const path of ['rooms/', `rooms/${ROOM}/`, `rooms/${ROOM}/messages`, `rooms/${ROOM}/members/bob/x`]) {
    isProblem(t, await call('POST', path), 404, /not_found/, path)
  }
})
