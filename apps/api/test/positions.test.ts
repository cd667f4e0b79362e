/** Acknowledging, reading, and what a device missed. */
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { away, isProblem, ROOM, SEND_TOKEN, world } from './world.js'

const ACK = 'conversations/dm:alice:bob/ack'
const READ = 'conversations/dm:alice:bob/read'

test('ack and read are 204 and go to logic, which refuses what is beyond the head (22)', async (t) => {
  const { call, calls, behind } = await world(t)
  const acked = await call('POST', ACK, { body: { seq: 42, device: 'phone' } })
  t.same([acked.status, acked.text], [204, ''])
  const ack = { user: 'alice', device: 'phone', conversation: 'dm:alice:bob', seq: 42 }
  t.same(calls.at(-1), ['ack', { acks: [ack], withinHead: true }])
  t.equal((await call('POST', 'conversations/dm%3Aalice%3Abob/read', { body: { seq: 0 } })).status, 204)
  t.same(calls.at(-1), ['read', { user: 'alice', conversation: 'dm:alice:bob', seq: 0 }])
  behind.move = () => {
    throw new AppError('beyond_head', 'The newest seq of this conversation is 3.')
  }
  isProblem(t, await call('POST', ACK, { body: { seq: 4, device: 'phone' } }), 400, 'beyond_head', 'ack')
  isProblem(t, await call('POST', READ, { body: { seq: 4 } }), 400, 'beyond_head', 'read')
  behind.move = () => {
    throw away()
  }
  isProblem(t, await call('POST', READ, { body: { seq: 4 } }), 503, 'unavailable', 'away')
})

test('a seq that is none, and a device that is none, are 400 and logic is not asked (22)', async (t) => {
  const { call, calls } = await world(t)
  const seqs = ['-1', '1.5', '"1"', 'null', 'true', '[1]', '{}', '9007199254740992', '1e400']
  for (const seq of seqs) {
    isProblem(t, await call('POST', ACK, { body: `{"seq":${seq},"device":"d"}` }), 400, 'invalid_request', `ack ${seq}`)
    isProblem(t, await call('POST', READ, { body: `{"seq":${seq}}` }), 400, 'invalid_request', `read ${seq}`)
  }
  for (const device of ['', '../x', 'a b', 'x'.repeat(65), 7]) {
    isProblem(t, await call('POST', ACK, { body: { seq: 1, device } }), 400, 'invalid_request', `device ${device}`)
  }
  for (const [path, body] of [
    [ACK, { seq: 1 }],
    [ACK, { device: 'd' }],
    [ACK, { seq: 1, device: 'd', user: 'bob' }],
    [READ, { seq: 1, device: 'd' }],
    [READ, []],
  ] as const) {
    isProblem(t, await call('POST', path, { body }), 400, 'invalid_request', JSON.stringify(body))
  }
  isProblem(t, await call('POST', READ, { body: '{"seq":1,"seq":2}' }), 400, 'invalid_json', 'doubled')
  t.same(
    calls.filter(([method]) => method !== 'seeUser'),
    [],
  )
})

test('ack and read of what is not mine, and of what cannot be, are 404 alike (19, 20)', async (t) => {
  const { call, calls, behind } = await world(t)
  const bodies = new Set<string>()
  for (const id of [
    'dm:bob:carol',
    'dm:bob:alice',
    'dm:alice',
    'dm:Alice:bob',
    'room:',
    'feed:bob',
    'nonsense',
    '%00',
  ]) {
    for (const [what, body] of Object.entries({ ack: { seq: 1, device: 'd' }, read: { seq: 1 } })) {
      const reply = await call('POST', `conversations/${id}/${what}`, { body })
      isProblem(t, reply, 404, 'conversation_not_found', `${what} ${id}`)
      const { instance, requestId, ...rest } = reply.body
      t.ok(instance && requestId)
      bodies.add(JSON.stringify(rest))
    }
  }
  t.equal(bodies.size, 1, 'one text for all')
  t.notOk(calls.some(([method]) => method === 'ack' || method === 'read'))
  t.equal((await call('POST', `conversations/room:${ROOM}/ack`, { body: { seq: 1, device: 'd' } })).status, 204)
  t.match(calls.at(-1), ['ack', { acks: [{ conversation: `room:${ROOM}` }] }], 'whether it is my room, logic knows')
  t.equal((await call('POST', `conversations/room:${ROOM}/read`, { body: { seq: 1 } })).status, 204)
  t.match(calls.at(-1), ['read', { conversation: `room:${ROOM}` }])
  behind.move = () => {
    throw new AppError('conversation_not_found')
  }
  const foreign = await call('POST', `conversations/room:${ROOM}/read`, { body: { seq: 1 } })
  isProblem(t, foreign, 404, 'conversation_not_found', 'a room that is not mine')
  isProblem(t, await call('POST', READ, { body: { seq: 1 }, token: SEND_TOKEN }), 403, 'forbidden', 'a service')
  isProblem(t, await call('POST', READ, { body: { seq: 1 }, as: false }), 401, 'unauthenticated', 'nobody')
})

test('what a device missed, with every content as it was written', async (t) => {
  const { call, calls, behind } = await world(t)
  t.same((await call('GET', 'offline')).body, { messages: [], void: {}, gap: {}, nextCursor: null, more: false })
  const first = { user: 'alice', device: '', cursor: '', limit: 100, fromOldest: false }
  t.same(calls.at(-1), ['readOffline', first])
  await call('GET', 'offline?cursor=0&device=phone&limit=500&from=oldest')
  t.same(calls.at(-1), ['readOffline', { ...first, device: 'phone', limit: 500, fromOldest: true }])
  const content = '{"n":9007199254740993, "2":1,"1":[ 1.50 ]}'
  const entry = {
    id: '7',
    conversation: 'dm:alice:bob',
    seq: 4,
    n: 4,
    from: 'bob',
    type: 'text',
    clientId: '',
    sentAt: 1,
    extra: '',
    options: '',
  }
  behind.readOffline = () => ({
    entries: [
      { ...entry, content },
      { ...entry, seq: 7, content: '' },
    ],
    voids: [{ conversation: 'dm:alice:bob', voids: [{ from: 5, to: 6 }] }],
    gaps: [{ conversation: 'dm:alice:carol', from: 3, to: 9 }],
    nextCursor: 'abc.def',
  })
  const reply = await call('GET', 'offline?cursor=abc.xyz')
  t.same(calls.at(-1), ['readOffline', { ...first, cursor: 'abc.xyz' }])
  t.match(reply.text, `"content":${content}`)
  t.match(reply.body, {
    void: { 'dm:alice:bob': [[5, 6]] },
    gap: { 'dm:alice:carol': [[3, 9]] },
    nextCursor: 'abc.def',
    more: true,
  })
  t.notOk('content' in reply.body.messages[1], 'a stub has none')
  behind.readOffline = () => {
    throw away()
  }
  isProblem(t, await call('GET', 'offline'), 503, 'unavailable', 'away')
})

test('a bad question for what was missed is 400', async (t) => {
  const { call } = await world(t)
  for (const query of [
    'limit=0',
    'limit=501',
    'limit=ten',
    'from=newest',
    'from=',
    'device=',
    'device=..%2Fx',
    'cursor=',
    `cursor=${'x'.repeat(513)}`,
    'cursor=1&cursor=2',
    'user=bob',
  ]) {
    isProblem(t, await call('GET', `offline?${query}`), 400, 'invalid_request', query.slice(0, 20))
  }
  isProblem(t, await call('GET', 'offline', { token: SEND_TOKEN }), 403, 'forbidden', 'a service')
})
