/** The word list and the flagged messages, for operators. */
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { away, isProblem, SEND_TOKEN, world } from './world.js'

test('a list is put, shown and taken away; it goes on as the text that came', async (t) => {
  const { admin, calls, behind } = await world(t)
  behind.writeWords = () => 2
  const text = '{ "words": ["bad", {"word":"vile","action":"reject"}] }'
  t.match(await admin('PUT', 'admin/words', { body: text }), { status: 200, body: { words: 2 } })
  t.same(calls, [['writeWords', { text }]])
  t.match(await admin('GET', 'admin/words'), { status: 200, body: { words: [] } })
  t.equal((await admin('DELETE', 'admin/words')).status, 204)
  t.same(calls.at(-1), ['clearWords', {}])
})

test('a list that is wrong is refused with what is wrong; one that is too large is not read', async (t) => {
  const { admin, calls, behind } = await world(t)
  behind.writeWords = () => {
    throw new AppError('invalid_request', 'words[3] must be a word of 1 to 64 characters.')
  }
  const wrong = await admin('PUT', 'admin/words', { body: { words: [''] } })
  isProblem(t, wrong, 400, 'invalid_request', 'a wrong word')
  t.match(wrong.body.detail, 'words[3]')
  behind.writeWords = () => {
    throw away()
  }
  isProblem(t, await admin('PUT', 'admin/words', { body: { words: [] } }), 503, 'unavailable', 'etcd away')
  calls.length = 0
  isProblem(t, await admin('PUT', 'admin/words', { body: '[]' }), 400, 'invalid_request', 'no object')
  isProblem(t, await admin('PUT', 'admin/words', { body: '{' }), 400, 'invalid_json', 'no JSON')
  const large = JSON.stringify({ words: ['a'.repeat(1024 * 1024)] })
  isProblem(t, await admin('PUT', 'admin/words', { body: large }), 413, 'payload_too_large', 'too large')
  t.same(calls, [])
})

test('nobody but an operator reads or writes any of it', async (t) => {
  const { call, calls } = await world(t)
  for (const [method, path] of [
    ['GET', 'admin/words'],
    ['PUT', 'admin/words'],
    ['DELETE', 'admin/words'],
    ['GET', 'admin/flagged'],
  ] as const) {
    for (const who of [{ as: 'alice' }, { token: SEND_TOKEN }, { as: false }] as const) {
      isProblem(t, await call(method, path, who), 401, 'signature_required', `${method} ${path}`)
    }
  }
  t.same(calls, [])
})

test('flagged messages come in pages, the newest first', async (t) => {
  const { admin, behind } = await world(t)
  const one = { id: '9', conversation: 'dm:alice:bob', seq: 3, from: 'alice', type: 'text', sentAt: 1, words: ['odd'] }
  const asked: unknown[] = []
  behind.flagged = (before, limit) => {
    asked.push([before, limit])
    return before === undefined ? [{ ...one, id: '10' }, one] : []
  }
  const first = await admin('GET', 'admin/flagged?limit=2')
  t.same(first.body, { messages: [{ ...one, id: '10' }, one], nextCursor: '9' })
  const second = await admin('GET', 'admin/flagged?limit=2&cursor=9')
  t.same(second.body, { messages: [], nextCursor: null })
  await admin('GET', 'admin/flagged')
  t.same(asked, [
    [undefined, 2],
    ['9', 2],
    [undefined, 100],
  ])
  for (const query of ['limit=0', 'limit=501', 'cursor=0', 'cursor=x', 'page=2']) {
    isProblem(t, await admin('GET', `admin/flagged?${query}`), 400, 'invalid_request', query)
  }
})
