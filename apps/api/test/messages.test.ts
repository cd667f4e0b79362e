/** POST /messages. Numbers in the titles are the rows of the table of bad input. */
import { AppError } from '@tidings/protocol'
import { type Test, test } from 'tap'
import { isProblem, message, READ_TOKEN, SEND_TOKEN, tokenOf, type World, world } from './world.js'

/** Sends what must be refused, and sees that it went no further. */
async function isRefused(
  t: Test,
  { send, drafts }: World,
  body: unknown,
  [status, code]: [number, string | RegExp],
  about: string,
  headers: Record<string, string> = {},
): Promise<void> {
  const before = drafts.length
  isProblem(t, await send(body, { headers }), status, code, about)
  t.equal(drafts.length, before, `${about}: accept was not called`)
}

const withContent = (text: string): string => `{"to":{"user":"bob"},"content":${text}}`
const nested = (levels: number): string => `${'{"a":'.repeat(levels - 1)}{}${'}'.repeat(levels - 1)}`

test('a message is accepted, and its answer is that of the contract', async (t) => {
  const { send, drafts } = await world(t)
  const reply = await send(message())
  t.equal(reply.status, 202)
  t.same(reply.body, { id: '7', conversation: 'dm:alice:bob', seq: 1, sentAt: 1_000, duplicate: false })
  t.same(drafts, [
    { from: 'alice', conversation: 'dm:alice:bob', type: 'text', content: '{"text":"hello"}', clientId: '', trace: '' },
  ])
})

test('a duplicate is told, and what else accept knows is not shown (17)', async (t) => {
  const { send, behind } = await world(t)
  const known = { id: '9', conversation: 'dm:alice:bob', seq: 3, sentAt: 5, duplicate: true }
  behind.accept = async () => ({ ...known, streamId: '1-0', partition: 4 })
  t.same((await send(message({ clientId: 'c-1' }))).body, known)
})

test('the other errors of accept keep their codes (17, 19)', async (t) => {
  const w = await world(t)
  const { send, behind } = w
  const cases = [
    ['idempotency_conflict', 409],
    ['user_not_found', 404],
    ['forbidden', 403],
    ['conversation_not_found', 404],
  ] as const
  for (const [code, status] of cases) {
    behind.accept = () => Promise.reject(new AppError(code))
    isProblem(t, await send(message()), status, code, code)
  }
  for (const code of ['unavailable', 'overloaded', 'outcome_unknown'] as const) {
    behind.accept = () => Promise.reject(new AppError(code, 'not now', { retryAfter: 1.2 }))
    const reply = await send(message())
    isProblem(t, reply, 503, code, code)
    t.equal(reply.headers['retry-after'], '2', 'whole seconds')
  }
})

test('content arrives as the very text that was sent (14)', async (t) => {
  const { send, drafts } = await world(t)
  const texts = [
    '{"n":9007199254740993,"big":1e400,"zero":-0,"2":1,"1":2}',
    '{ "a" :\t[ 1.50 ,\n2 ] , "":{"content":{}} }',
    '{"text":"<script>\\u0041\\n\\/ \u2028 \u{1f600} \\ud83d\\ude00 \\u0000"}',
    '{}',
  ]
  for (const text of texts) t.equal((await send(withContent(`  ${text} `))).status, 202)
  t.same(
    drafts.map(({ content }) => content),
    texts,
  )
})

test('a body that is not JSON is 400 (1, 6, 7, 10)', async (t) => {
  const w = await world(t)
  const json: [number, string] = [400, 'invalid_json']
  await isRefused(t, w, '', json, 'empty')
  for (const text of ['{', '{"to":', 'undefined', "{'a':1}", '{"a":1,}', `${JSON.stringify(message())}x`, '\ufeff{}']) {
    await isRefused(t, w, text, json, text)
  }
  await isRefused(t, w, withContent('{"__proto__":{"admin":true}}'), json, '__proto__')
  await isRefused(t, w, withContent('{"constructor":{"prototype":{}}}'), json, 'constructor')
  await isRefused(t, w, Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), json, 'invalid UTF-8')
  await isRefused(t, w, Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), json, 'a surrogate in UTF-8')
  const content: [number, string] = [400, 'invalid_content']
  await isRefused(t, w, withContent('{"a":1,"a":2}'), content, 'a key twice')
  await isRefused(t, w, withContent('{"b":[{"a":1,"\\u0061":2}]}'), content, 'a key twice, spelled differently')
  await isRefused(t, w, '{"to":{"user":"bob"},"to":{"user":"bob"},"content":{}}', content, 'to twice')
  await isRefused(t, w, withContent('{"a":"\\ud800"}'), content, 'half of a surrogate pair')
  await isRefused(t, w, withContent('{"\\udc00":1}'), content, 'half of a surrogate pair in a key')
})

test('depth is 32 levels of content; 8,000 do not crash (12)', async (t) => {
  const w = await world(t)
  t.equal((await w.send(withContent(nested(32)))).status, 202)
  await isRefused(t, w, withContent(nested(33)), [400, 'invalid_content'], '33 levels')
  await isRefused(t, w, withContent(nested(8_000)), [400, 'invalid_content'], '8,000 levels')
  const brackets = `${'['.repeat(8_000)}${']'.repeat(8_000)}`
  await isRefused(t, w, withContent(`{"a":${brackets}}`), [400, 'invalid_content'], '8,000 brackets')
  await isRefused(t, w, brackets, [400, 'invalid_request'], 'a body of 8,000 brackets')
})

test('content is at most 16 KiB in bytes, a body 64 KiB (2, 11)', async (t) => {
  const w = await world(t)
  const sized = (bytes: number): string => `{"t":"${'x'.repeat(bytes - 8)}"}`
  t.equal((await w.send(withContent(sized(16_384)))).status, 202)
  await isRefused(t, w, withContent(sized(16_385)), [413, 'content_too_large'], 'one byte more')
  const emoji = `{"t":"${'\u{1f600}'.repeat(4_095)}"}`
  await isRefused(t, w, withContent(emoji), [413, 'content_too_large'], '16 KiB of emoji and a little')
  t.ok(emoji.length < 16_384, 'which are fewer characters')
  await isRefused(t, w, withContent(sized(70_000)), [413, 'payload_too_large'], 'a body over 64 KiB')
})

test('only JSON in UTF-8 is read, as it is (4, 5)', async (t) => {
  const w = await world(t)
  const text = JSON.stringify(message())
  const refused: [number, string] = [415, 'unsupported_media_type']
  const types = [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=utf-16',
    'application/jsonp',
  ]
  for (const type of [...types, 'application/json; charset=utf-8; x=1', 'multipart/form-data; boundary=a', ';', '']) {
    await isRefused(t, w, text, refused, `type ${type}`, { 'content-type': type })
  }
  for (const encoding of ['gzip', 'br', 'deflate', 'identity, gzip']) {
    await isRefused(t, w, text, refused, `encoding ${encoding}`, { 'content-encoding': encoding })
  }
  const taken = ['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"']
  for (const type of taken) t.equal((await w.send(text, { headers: { 'content-type': type } })).status, 202, type)
  t.equal((await w.send(text, { headers: { 'content-encoding': 'identity' } })).status, 202, 'identity')
  const noType = await w.app.inject({
    method: 'POST',
    url: '/api/v1/messages',
    headers: { authorization: `Bearer ${tokenOf('alice')}`, 'content-type': undefined },
    payload: Buffer.from(text),
  })
  t.equal(noType.statusCode, 415, 'no type at all')
})

test('nothing is converted, and nothing unknown is dropped (8, 9)', async (t) => {
  const w = await world(t)
  const refused: [number, string] = [400, 'invalid_request']
  const bad: Record<string, unknown>[] = [
    message({ to: { user: 123 } }),
    message({ to: { user: ['bob'] } }),
    message({ to: ['bob'] }),
    message({ to: 'bob' }),
    message({ to: null }),
    message({ type: 1 }),
    message({ type: null }),
    message({ clientId: 1 }),
    message({ clientId: null }),
    message({ from: true }),
    message({ wait: 1 }),
    message({ seq: 1 }),
    message({ id: '1' }),
    message({ sentAt: 1 }),
    message({ to: { user: 'bob', name: 'Bob' } }),
    { to: { user: 'bob' } },
    { content: {} },
    {},
  ]
  for (const body of bad) await isRefused(t, w, body, refused, JSON.stringify(body))
  for (const body of ['null', '1', '"x"', '[]', 'true']) await isRefused(t, w, body, refused, body)
  const { body } = await w.send({ to: { user: 1, 'a/b~c': 2 }, seq: 1, content: {} })
  t.same(body.errors.map((fault: { pointer: string }) => fault.pointer).sort(), [
    '/seq',
    '/to',
    '/to/a~1b~0c',
    '/to/user',
  ])
})

test('ids have their patterns (10, 16)', async (t) => {
  const w = await world(t)
  const refused: [number, string] = [400, 'invalid_request']
  for (const user of ['', 'a\u0000b', 'a b', 'a:b', 'a{b}', '\u00e4', 'x'.repeat(65), 'bob\n', '\u{1f600}']) {
    await isRefused(t, w, message({ to: { user } }), refused, `user ${JSON.stringify(user)}`)
  }
  for (const clientId of ['', 'x'.repeat(65), 'a\nb', 'a\n', '\u{1f600}', 'a b', '"a"']) {
    await isRefused(t, w, message({ clientId }), refused, `clientId ${JSON.stringify(clientId)}`)
  }
  for (const room of ['', 'x', 'x'.repeat(17), '../../../../etc/p', 'abcdefghijklmno:']) {
    await isRefused(t, w, message({ to: { room } }), refused, `room ${room}`)
  }
})

test('content is an object, and types of the system are not for people (13)', async (t) => {
  const w = await world(t)
  for (const content of ['null', '[]', '"text"', '1', 'true']) {
    await isRefused(t, w, withContent(content), [400, 'invalid_request'], `content ${content}`)
  }
  for (const type of ['system', 'edit', 'recall', 'reaction', 'void']) {
    await isRefused(t, w, message({ type }), [403, 'forbidden'], type)
  }
  for (const type of ['', 'Text', 'x-', `x-${'n'.repeat(1_024)}`, `x-${'n'.repeat(63)}`, 'x-a b', 'constructor']) {
    await isRefused(t, w, message({ type }), [400, 'invalid_request'], `type ${type.slice(0, 70)}`)
  }
  const types = ['text', 'image', 'file', 'x-order', `x-${'n'.repeat(62)}`]
  for (const type of types) await w.send(message({ type }))
  t.same(
    w.drafts.map((draft) => draft.type),
    types,
  )
})

test('a message goes to exactly one user or room (18, 20)', async (t) => {
  const w = await world(t)
  const room = 'abcdefghijklmno_'
  await isRefused(t, w, message({ to: {} }), [400, 'invalid_request'], 'neither')
  await isRefused(t, w, message({ to: { user: 'bob', room } }), [400, 'invalid_request'], 'both')
  await w.send(message({ to: { user: 'alice' } }))
  await w.send(message({ to: { user: 'Alice' } }))
  await w.send(message({ to: { user: 'bob' } }), { as: 'carol' })
  await w.send(message({ to: { room } }))
  t.same(
    w.drafts.map(({ conversation }) => conversation),
    ['dm:alice:alice', 'dm:Alice:alice', 'dm:bob:carol', `room:${room}`],
  )
})

test('the Idempotency-Key stands for a clientId (16, 17)', async (t) => {
  const w = await world(t)
  await w.send(message(), { headers: { 'idempotency-key': 'k-1' } })
  await w.send(message({ clientId: 'k-2' }), { headers: { 'idempotency-key': 'k-2' } })
  await w.send(message({ clientId: 'k-3' }))
  t.same(
    w.drafts.map(({ clientId }) => clientId),
    ['k-1', 'k-2', 'k-3'],
  )
  const refused: [number, string] = [400, 'invalid_request']
  await isRefused(t, w, message({ clientId: 'a' }), refused, 'two that differ', { 'idempotency-key': 'b' })
  for (const key of ['', 'a b', '"a"', 'x'.repeat(65), 'a, a']) {
    await isRefused(t, w, message(), refused, `key ${key}`, { 'idempotency-key': key })
  }
})

test('only a service token with the scope send speaks for others', async (t) => {
  const w = await world(t)
  await isRefused(t, w, message({ from: 'carol' }), [403, 'forbidden'], 'a user as another')
  await isRefused(t, w, message({ from: 'Alice' }), [403, 'forbidden'], 'a user as another that differs in case')
  await isRefused(t, w, message({ from: 'a:b' }), [400, 'invalid_request'], 'an impossible name')
  t.equal((await w.send(message({ from: 'alice' }))).status, 202, 'a user as herself')
  isProblem(t, await w.send(message(), { token: SEND_TOKEN }), 400, 'invalid_request', 'a service without from')
  isProblem(t, await w.send(message({ from: 'carol' }), { token: READ_TOKEN }), 403, 'forbidden', 'without the scope')
  t.equal((await w.send(message({ from: 'carol' }), { token: SEND_TOKEN })).status, 202, 'a service as carol')
  t.same(
    w.drafts.map(({ from, conversation }) => [from, conversation]),
    [
      ['alice', 'dm:alice:bob'],
      ['carol', 'dm:bob:carol'],
    ],
  )
  t.notOk(
    w.calls.some(([method, { user }]) => method === 'seeUser' && user !== 'alice'),
    'a service is no user',
  )
})

test('wait is answered with what was reached', async (t) => {
  const w = await world(t)
  t.notOk('reached' in (await w.send(message())).body)
  t.match(await w.send(message({ wait: 'accepted' })), { status: 202, body: { reached: 'accepted' } })
  const asked: number[] = []
  w.behind.persisted = async (withinMs) => {
    asked.push(withinMs)
    return withinMs > 100
  }
  t.match(await w.send(message({ wait: 'persisted' })), { status: 202, body: { reached: 'persisted' } })
  t.match(await w.send(message({ wait: 'persisted', waitMs: 100 })), { status: 202, body: { reached: 'accepted' } })
  t.same(asked, [5_000, 100])
  const messages = [message({ wait: 'persisted' }), message()]
  const batch = await w.call('POST', 'messages/batch', { body: { messages } })
  t.same(
    (batch.body.results as { reached?: string }[]).map(({ reached }) => reached),
    ['persisted', undefined],
  )
  await isRefused(t, w, message({ waitMs: 100 }), [400, 'invalid_request'], 'a deadline of nothing')
  await isRefused(t, w, message({ wait: 'persisted', waitMs: 0 }), [400, 'invalid_request'], 'no time')
  await isRefused(t, w, message({ wait: 'persisted', waitMs: 30_001 }), [400, 'invalid_request'], 'too long')
  await isRefused(t, w, message({ wait: 'stored' }), [400, 'invalid_request'], 'another word')
})

test('a traceparent goes with the message when it is well-formed', async (t) => {
  const w = await world(t)
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  await w.send(message(), { headers: { traceparent } })
  await w.send(message(), { headers: { traceparent: '00-nonsense' } })
  t.same(
    w.drafts.map(({ trace }) => trace),
    [traceparent, ''],
  )
})

test('with tracing on, the send is a span, and its traceparent goes on', async (t) => {
  const ended: unknown[] = []
  const { send, drafts, behind } = await world(t, {
    tracing: {
      enabled: true,
      start: (name, parent) => ({ traceparent: `${name} of ${parent}`, end: (error) => void ended.push(error) }),
      async stop() {},
    },
  })
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  await send(message(), { headers: { traceparent } })
  t.equal(drafts[0]?.trace, `http send of ${traceparent}`)
  behind.accept = () => Promise.reject(new AppError('unavailable'))
  await send(message())
  t.match(ended, [undefined, { code: 'unavailable' }])
})
