/** PATCH and DELETE /messages/{id}, and reactions: what of them reaches logic and accept. */
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { isProblem, READ_TOKEN, SEND_TOKEN, world } from './world.js'

const ID = '7261234567890123456'
const PATH = `messages/${ID}`
const THUMB = `${PATH}/reactions/${encodeURIComponent('👍')}`
const sent = { id: '7', conversation: 'dm:alice:bob', seq: 1, sentAt: 1_000, duplicate: false }
const rule = { target: { id: ID, seq: 42, sentAt: 1_000 }, base: 0, until: 901_000 }

test('an edit names its target and carries the very text that was sent', async (t) => {
  const { call, calls, drafts } = await world(t)
  const raw = '{ "n" :9007199254740993, "replyTo":"7" }'
  const reply = await call('PATCH', PATH, { body: `{"content":${raw},"clientId":"c-1"}` })
  t.same([reply.status, reply.body], [202, sent])
  t.same(calls.at(-1), ['authorizeChange', { user: 'alice', id: ID, type: 'edit' }])
  const content = `{"target":"${ID}","seq":42,"content":${raw}}`
  const { change, edits, ...draft } = drafts[0]!
  t.same(draft, { from: 'alice', conversation: 'dm:alice:bob', type: 'edit', content, clientId: 'c-1', trace: '' })
  t.same(change, { what: 'edit', ...rule, detail: content.indexOf(raw) })
  t.equal(edits, 'text')
})

test('a recall and reactions have no body; their key comes in the header or the query', async (t) => {
  const { call, drafts } = await world(t)
  t.same((await call('DELETE', PATH, { headers: { 'idempotency-key': 'c-1' } })).body, sent)
  t.equal((await call('PUT', `${THUMB}?clientId=c-2`)).status, 202)
  t.equal((await call('DELETE', THUMB)).status, 202)
  const target = `"target":"${ID}","seq":42`
  t.match(drafts, [
    { type: 'recall', content: `{${target}}`, clientId: 'c-1', change: { what: 'recall', ...rule, detail: '-' } },
    { type: 'reaction', content: `{${target},"emoji":"👍","action":"add"}`, clientId: 'c-2' },
    { content: `{${target},"emoji":"👍","action":"remove"}`, clientId: '', change: { what: 'remove', detail: '👍' } },
  ])
})

test('a service acts for the user that it names, in the body or in the query', async (t) => {
  const { call, calls, drafts } = await world(t)
  const token = SEND_TOKEN
  const content = { text: 'x' }
  t.equal((await call('PATCH', PATH, { token, body: { content, from: 'bob' } })).status, 202)
  t.equal((await call('DELETE', `${PATH}?from=bob`, { token })).status, 202)
  t.equal((await call('PUT', `${THUMB}?from=bob`, { token })).status, 202)
  t.ok(drafts.every(({ from }) => from === 'bob'))
  t.same(
    calls.filter(([name]) => name === 'authorizeChange').map(([, { user }]) => user),
    ['bob', 'bob', 'bob'],
  )
  isProblem(t, await call('DELETE', PATH, { token }), 400, 'invalid_request', 'without a name')
  isProblem(t, await call('DELETE', `${PATH}?from=bob`, { token: READ_TOKEN }), 403, 'forbidden', 'without the scope')
  isProblem(t, await call('DELETE', `${PATH}?from=bob`), 403, 'forbidden', 'a user for another')
})

test('what is not right goes no further', async (t) => {
  const { call, drafts } = await world(t)
  const content = { text: 'x' }
  const edits: [unknown, number, string][] = [
    [{}, 400, 'invalid_request'],
    [{ content: 'x' }, 400, 'invalid_request'],
    [{ content: [] }, 400, 'invalid_request'],
    [{ content, type: 'text' }, 400, 'invalid_request'],
    [{ content, clientId: 'a b' }, 400, 'invalid_request'],
    [{ content: { text: 'x'.repeat(16 * 1024) } }, 413, 'content_too_large'],
    [{ content: { replyTo: 7 } }, 400, 'invalid_content'],
    [{ content: { replyTo: 'x' } }, 400, 'invalid_content'],
    ['{"content":{"a":1,"a":2}}', 400, 'invalid_content'],
  ]
  for (const [body, status, code] of edits)
    isProblem(t, await call('PATCH', PATH, { body }), status, code, JSON.stringify(body).slice(0, 60))
  isProblem(t, await call('PATCH', PATH, { body: { content }, as: false }), 401, 'unauthenticated', 'nobody')
  const emojis = ['%20', 'a%20b', '%00', '%0a', '%E2%80%AE', '%C2%A0', 'x'.repeat(65), '%F0%9F%91', '..%2f', '%3Cb%3E']
  for (const emoji of [...emojis, 'x'.repeat(4_096)])
    isProblem(t, await call('PUT', `${PATH}/reactions/${emoji}`), 400, 'invalid_request', emoji.slice(0, 66))
  for (const query of ['clientId=a%20b', 'from=', 'x=1'])
    isProblem(t, await call('DELETE', `${PATH}?${query}`), 400, 'invalid_request', query)
  t.same(drafts, [])
})

test('what emojis are made of passes', async (t) => {
  const { call, drafts } = await world(t)
  for (const emoji of ['👍🏽', '👩‍👩‍👧', '❤️', '🏴󠁧󠁢󠁳󠁣󠁴󠁿', '+1', ':party:', '"\\', '%'])
    t.equal((await call('PUT', `${PATH}/reactions/${encodeURIComponent(emoji)}`)).status, 202, emoji)
  t.equal(drafts.length, 8)
  t.equal(JSON.parse(drafts[6]!.content).emoji, '"\\')
})

test('the answers of logic and of accept keep their codes', async (t) => {
  const { call, behind } = await world(t)
  for (const [code, status] of [
    ['message_not_found', 404],
    ['forbidden', 403],
    ['message_not_changeable', 409],
  ] as const) {
    behind.authorizeChange = () => {
      throw new AppError(code)
    }
    isProblem(t, await call('DELETE', PATH), status, code, code)
  }
  behind.authorizeChange = () => ({ conversation: 'dm:alice:bob', seq: 42, sentAt: 1, base: 0, until: 0, type: 'text' })
  for (const [code, status] of [
    ['change_window_over', 403],
    ['message_recalled', 409],
    ['too_many_reactions', 409],
    ['blocked', 403],
    ['muted', 403],
    ['idempotency_conflict', 409],
    ['outcome_unknown', 503],
  ] as const) {
    behind.accept = () => Promise.reject(new AppError(code))
    isProblem(t, await call('PUT', THUMB), status, code, code)
  }
})

test('changes count as sends', async (t) => {
  let taken = 0
  const { call } = await world(t, {
    rates: {
      send() {
        if (++taken > 2) throw new AppError('rate_limited', 'Too many.', { retryAfter: 1 })
      },
    },
  })
  t.equal((await call('PUT', THUMB)).status, 202)
  t.equal((await call('DELETE', PATH)).status, 202)
  isProblem(t, await call('DELETE', PATH), 429, 'rate_limited', 'the third')
})

test('a reply names a message', async (t) => {
  const { send, call, drafts } = await world(t)
  const to = { user: 'bob' }
  t.equal((await send({ to, content: { text: 'yes', replyTo: ID } })).status, 202)
  for (const replyTo of [7, '', '-1', '0', 'x', '12345678901234567890', null, {}])
    isProblem(t, await send({ to, content: { replyTo } }), 400, 'invalid_content', JSON.stringify(replyTo))
  for (const name of ['reply\\u0054o', '\\u0072eplyTo']) {
    const escaped = (id: string) => `{"to":{"user":"bob"},"content":{"text":"yes","${name}":"${id}"}}`
    isProblem(t, await send(escaped('vile')), 400, 'invalid_content', name)
    t.equal((await send(escaped(ID))).status, 202, name)
    const edit = await call('PATCH', `messages/${ID}`, { body: `{"content":{"${name}":"vile"}}` })
    isProblem(t, edit, 400, 'invalid_content', `${name} in an edit`)
  }
  t.equal((await send({ to, content: { replyTo: {} }, type: 'x-mine' })).status, 202, "an application's own")
  t.equal((await send({ to, content: { deep: { replyTo: {} } } })).status, 202, 'further in')
  t.equal(drafts.length, 5)
})
