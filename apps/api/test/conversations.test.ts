/** Reading. */
import { AppError, type logicRpc } from '@tidings/protocol'
import { test } from 'tap'
import { isProblem, ROOM, SEND_TOKEN, world } from './world.js'

const entry = (over: Partial<logicRpc.HistoryEntry> = {}): logicRpc.HistoryEntry => ({
  id: '7261234567890123456',
  conversation: 'dm:alice:bob',
  seq: 4,
  n: 4,
  from: 'bob',
  type: 'text',
  content: '{"n":9007199254740993, "2":1,"1":[ 1.50 ]}',
  clientId: 'c-1',
  sentAt: 1_763_700_000_000,
  extra: '',
  options: '',
  ...over,
})

test('history is the page of logic, with every content as it was written (14)', async (t) => {
  const { call, behind } = await world(t)
  behind.readHistory = () => ({
    entries: [entry(), entry({ seq: 7, clientId: '', content: '' })],
    voids: [
      { from: 5, to: 5 },
      { from: 6, to: 6 },
    ],
    head: 9,
    complete: true,
  })
  const reply = await call('GET', 'conversations/dm:alice:bob/messages')
  t.equal(reply.status, 200)
  t.equal(reply.headers['content-type'], 'application/json; charset=utf-8')
  t.match(reply.text, '"content":{"n":9007199254740993, "2":1,"1":[ 1.50 ]}')
  t.match(reply.body, {
    void: [
      [5, 5],
      [6, 6],
    ],
    head: 9,
    complete: true,
  })
  const { content, ...rest } = reply.body.messages[0]
  t.ok(content)
  t.same(rest, {
    id: '7261234567890123456',
    conversation: 'dm:alice:bob',
    seq: 4,
    from: 'bob',
    type: 'text',
    clientId: 'c-1',
    sentAt: 1_763_700_000_000,
  })
  t.notOk('content' in reply.body.messages[1], 'a stub has none')
})

test('the range goes to logic as it was asked', async (t) => {
  const { call, calls } = await world(t)
  const path = 'conversations/dm%3Aalice%3Abob/messages'
  const asked = async (query: string): Promise<Record<string, unknown> | undefined> => {
    t.equal((await call('GET', `${path}${query}`)).status, 200, query)
    return calls.at(-1)?.[1]
  }
  const base = {
    user: 'alice',
    conversation: 'dm:alice:bob',
    before: 0,
    after: 0,
    fromStart: false,
    limit: 50,
    refuseExpired: true,
  }
  t.same(await asked(''), base)
  t.same(await asked('?before=10&limit=200'), { ...base, before: 10, limit: 200 })
  t.same(await asked('?after=10&limit=1'), { ...base, after: 10, limit: 1 })
  t.same(await asked('?after=0'), { ...base, fromStart: true })
  t.same(await asked('?before=9007199254740991'), { ...base, before: Number.MAX_SAFE_INTEGER })
})

test('a bad range is 400 and logic is not asked (14, 15)', async (t) => {
  const { call, calls } = await world(t)
  const queries = [
    'limit=0',
    'limit=-1',
    'limit=201',
    'limit=1000000000',
    'limit=ten',
    'limit=1.5',
    'limit=1e2',
    'limit=0x10',
    'limit=',
    'limit=%201',
    'limit=true',
    'limit=1&limit=2',
    'before=0',
    'before=-5',
    'before=9007199254740992',
    'before=99999999999999999999',
    'after=-1',
    'after=1.0',
    'before=1&after=1',
    'from=1',
    'limit[]=1',
    '__proto__=1',
  ]
  for (const query of queries) {
    const reply = await call('GET', `conversations/dm:alice:bob/messages?${query}`)
    isProblem(t, reply, 400, 'invalid_request', query)
  }
  t.same(
    calls.filter(([method]) => method !== 'seeUser'),
    [],
  )
})

test('what is not mine, and what cannot be, is 404 alike (19, 20)', async (t) => {
  const { call, calls } = await world(t)
  const ids = [
    'dm:bob:carol',
    'dm:bob:alice',
    'dm:alice',
    'dm:alice:bob:carol',
    'dm:Alice:bob',
    'dm::alice',
    'room:',
    'room:abcdefghijklmno',
    'feed:bob',
    'feed:',
    'nonsense',
    '%00',
    'dm:alice:bob%0a',
  ]
  const bodies = new Set<string>()
  for (const id of ids) {
    const reply = await call('GET', `conversations/${id}/messages`)
    isProblem(t, reply, 404, 'conversation_not_found', id)
    const { instance, requestId, ...rest } = reply.body
    t.ok(instance && requestId)
    bodies.add(JSON.stringify(rest))
  }
  t.equal(bodies.size, 1, 'one text for all')
  t.notOk(calls.some(([method]) => method === 'readHistory'))
  t.equal((await call('GET', 'conversations/feed:alice/messages')).status, 200, 'my feed')
  t.equal((await call('GET', `conversations/room:${ROOM}/messages`)).status, 200, 'whether it is my room, logic knows')
  t.match(calls.at(-1), ['readHistory', { user: 'alice', conversation: `room:${ROOM}` }])
  t.equal((await call('GET', 'conversations/dm:alice:alice/messages')).status, 200, 'my notes')
})

test('a source that is away is 503, and what is no longer kept is 410 with the floor', async (t) => {
  const { call, behind } = await world(t)
  behind.readHistory = () => {
    throw new AppError('unavailable', 'MySQL does not answer.', { retryAfter: 1 })
  }
  isProblem(t, await call('GET', 'conversations/dm:alice:bob/messages'), 503, 'unavailable', 'away')
  behind.readHistory = () => {
    throw new AppError('cursor_too_old', undefined, { details: { floor: 120, status: 200, code: 'x' } })
  }
  const reply = await call('GET', 'conversations/dm:alice:bob/messages?after=3')
  isProblem(t, reply, 410, 'cursor_too_old', 'too old')
  t.equal(reply.body.floor, 120, 'details stand beside the standard members, and replace none')
})

test('the list of conversations', async (t) => {
  const { call, behind, calls } = await world(t)
  t.same((await call('GET', 'conversations')).body, { conversations: [], nextCursor: null })
  const view = {
    id: 'dm:alice:bob',
    kind: 'dm',
    title: 'Bob "the\nbuilder"',
    head: 4,
    delivered: 3,
    read: 2,
    unread: 2,
  }
  behind.listConversations = () => ({
    conversations: [
      { ...view, lastMessage: entry(), mutedUntil: Number.MAX_SAFE_INTEGER, pinned: true },
      { ...view, lastMessage: undefined, mutedUntil: 1, pinned: false },
    ],
    nextCursor: 'next"page',
  })
  const reply = await call('GET', 'conversations?limit=2&cursor=abc')
  t.same(calls.at(-1), ['listConversations', { user: 'alice', cursor: 'abc', limit: 2 }])
  t.match(reply.text, '9007199254740993')
  t.equal(reply.body.nextCursor, 'next"page')
  t.match(reply.body.conversations, [
    { ...view, lastMessage: { seq: 4, from: 'bob' }, muted: true, mutedUntil: null, pinned: true },
    { ...view, lastMessage: null, muted: false, mutedUntil: null, pinned: false },
  ])
  t.equal((await call('GET', 'conversations?pinned=false')).status, 200)
  t.same(calls.at(-1), ['listConversations', { user: 'alice', cursor: '', limit: 50, pinned: false }])
  for (const query of ['limit=0', 'limit=101', 'limit=x', 'offset=3', 'pinned=1', `cursor=${'x'.repeat(513)}`]) {
    isProblem(t, await call('GET', `conversations?${query}`), 400, 'invalid_request', query.slice(0, 20))
  }
  isProblem(t, await call('GET', 'conversations', { token: SEND_TOKEN }), 403, 'forbidden', 'a service')
})

test('what one sets for a conversation', async (t) => {
  const { call, behind, calls } = await world(t)
  const path = 'conversations/dm:alice:bob'
  const set = async (body: object) => {
    const reply = await call('PATCH', path, { body })
    t.equal(reply.status, 200, JSON.stringify(body))
    return [reply.body, calls.at(-1)![1]]
  }
  const named = { user: 'alice', conversation: 'dm:alice:bob' }
  behind.setFlags = () => ({ mutedUntil: Number.MAX_SAFE_INTEGER, pinned: false })
  t.same(await set({ muted: true }), [
    { id: 'dm:alice:bob', muted: true, mutedUntil: null, pinned: false },
    { ...named, mutedUntil: Number.MAX_SAFE_INTEGER },
  ])
  const later = Date.now() + 60_000
  behind.setFlags = () => ({ mutedUntil: later, pinned: true })
  t.same(await set({ mutedUntil: later, pinned: true }), [
    { id: 'dm:alice:bob', muted: true, mutedUntil: later, pinned: true },
    { ...named, mutedUntil: later, pinned: true },
  ])
  behind.setFlags = () => ({ mutedUntil: 0, pinned: false })
  t.same((await set({ muted: false }))[1], { ...named, mutedUntil: 0 })
  t.same((await set({ pinned: false }))[1], { ...named, pinned: false })
  const wrong = [{}, { muted: 'yes' }, { pinned: 1 }, { mutedUntil: 0 }, { mutedUntil: 1.5 }, { archived: true }]
  for (const body of [...wrong, { muted: false, mutedUntil: later }]) {
    isProblem(t, await call('PATCH', path, { body }), 400, 'invalid_request', JSON.stringify(body))
  }
  const strangers = await call('PATCH', 'conversations/dm:bob:carol', { body: { pinned: true } })
  isProblem(t, strangers, 404, 'conversation_not_found', 'of others')
  isProblem(t, await call('PATCH', path, { body: { pinned: true }, token: SEND_TOKEN }), 403, 'forbidden', 'a service')
})
