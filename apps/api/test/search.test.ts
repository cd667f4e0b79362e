/** GET /search at the edge. */
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { away, isProblem, ROOM, SEND_TOKEN, world } from './world.js'

const entry = {
  ...{ id: '7261234567890123456', conversation: 'dm:alice:bob', seq: 4, n: 4, from: 'bob', type: 'text' },
  ...{ content: '{"text":"明天的会议","n":9007199254740993}', clientId: 'c', sentAt: 1_000, extra: '', options: '' },
}

test('what was found, with its text as it was written', async (t) => {
  const { call, behind, calls } = await world(t)
  behind.searchMessages = () => ({
    hits: [{ entry, snippet: '明天的会议', marks: [{ from: 3, to: 5 }] }],
    nextCursor: 'next',
    complete: false,
  })
  const reply = await call('GET', `search?q=${encodeURIComponent('会议')}`)
  t.equal(reply.status, 200)
  t.match(reply.body, {
    results: [{ message: { seq: 4, from: 'bob' }, snippet: '明天的会议', marks: [[3, 5]] }],
    nextCursor: 'next',
    complete: false,
  })
  t.match(reply.text, '9007199254740993')
  const base = { user: 'alice', query: '会议', conversation: '', from: '', before: 0, after: 0, cursor: '', limit: 20 }
  t.same(calls.at(-1), ['searchMessages', base])
  const query = `q=a&conversation=room:${ROOM}&from=bob&before=9&after=3&cursor=x&limit=100`
  t.equal((await call('GET', `search?${query}`)).status, 200)
  const asked = { ...base, query: 'a', conversation: `room:${ROOM}`, from: 'bob', before: 9, after: 3, cursor: 'x' }
  t.same(calls.at(-1), ['searchMessages', { ...asked, limit: 100 }])
})

test('bad input, wrong people, and sources that are away', async (t) => {
  const { call, behind } = await world(t)
  const wrong = [
    '',
    'q=',
    `q=${'x'.repeat(201)}`,
    'q=a&limit=0',
    'q=a&limit=101',
    'q=a&before=x',
    'q=a&after=0',
    'q=a&x=1',
  ]
  for (const query of [...wrong, `q=a&from=${'x'.repeat(65)}`, `q=a&cursor=${'x'.repeat(513)}`, 'q=a&q=b'])
    isProblem(t, await call('GET', `search?${query}`), 400, 'invalid_request', query.slice(0, 30))
  for (const id of ['dm:bob:carol', 'feed:bob', 'nonsense'])
    isProblem(t, await call('GET', `search?q=a&conversation=${id}`), 404, 'conversation_not_found', id)
  isProblem(t, await call('GET', 'search?q=a', { as: false }), 401, 'unauthenticated', 'nobody')
  isProblem(t, await call('GET', 'search?q=a', { token: SEND_TOKEN }), 403, 'forbidden', 'a service')
  behind.searchMessages = () => {
    throw away()
  }
  isProblem(t, await call('GET', 'search?q=a'), 503, 'unavailable', 'away')
  behind.searchMessages = () => {
    throw new AppError('not_found', 'Search is turned off here.')
  }
  isProblem(t, await call('GET', 'search?q=a'), 404, 'not_found', 'off')
})
