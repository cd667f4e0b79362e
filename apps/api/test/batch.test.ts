/** POST /messages/batch. */
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { cutContents } from '../src/batch.js'
import { isProblem, message, READ_TOKEN, SEND_TOKEN, world } from './world.js'

test('a batch of nothing or of 501 is refused as a whole (21)', async (t) => {
  const { call, drafts } = await world(t)
  const bad = [
    { messages: [] },
    { messages: Array.from({ length: 501 }, () => message()) },
    { messages: message() },
    { messages: [message()], wait: 'accepted' },
    {},
    [message()],
  ]
  for (const body of bad) {
    const about = JSON.stringify(body).slice(0, 60)
    isProblem(t, await call('POST', 'messages/batch', { body }), 400, 'invalid_request', about)
  }
  const twice = '{"messages":[],"messages":[{"to":{"user":"bob"},"content":{}}]}'
  isProblem(t, await call('POST', 'messages/batch', { body: twice }), 400, /invalid/, 'messages twice')
  const hidden =
    '{"messages":[{"to":{"user":"bob"},"content":{}}],"mess\\u0061ges":[{"to":{"user":"bob"},"content":{}}]}'
  isProblem(t, await call('POST', 'messages/batch', { body: hidden }), 400, 'invalid_json', 'messages twice, hidden')
  isProblem(
    t,
    await call('POST', 'messages/batch', { body: { messages: [message()] }, headers: { 'idempotency-key': 'k' } }),
    400,
    'invalid_request',
    'one key for many',
  )
  t.same(drafts, [])
})

test('a bad message has its own problem, and the others go on (7, 10, 12, 21)', async (t) => {
  const { call, drafts, lines } = await world(t)
  const good = (n: number): string => JSON.stringify(message({ content: { n } }))
  const bad: [string, string][] = [
    ['invalid_request', '{}'],
    ['invalid_request', 'null'],
    ['invalid_request', '"text"'],
    ['invalid_request', JSON.stringify(message({ seq: 1 }))],
    ['forbidden', JSON.stringify(message({ type: 'edit' }))],
    ['forbidden', JSON.stringify(message({ from: 'carol' }))],
    ['invalid_content', '{"to":{"user":"bob"},"content":{"a":1,"a":2}}'],
    ['invalid_content', '{"to":{"user":"bob"},"content":{"a":"\\ud800"}}'],
    ['invalid_content', `{"to":{"user":"bob"},"content":{"a":${'['.repeat(8_000)}${']'.repeat(8_000)}}}`],
    ['content_too_large', JSON.stringify(message({ content: { t: 'x'.repeat(16_384) } }))],
  ]
  const items = [good(0), ...bad.flatMap(([, text], i) => [text, good(i + 1)])]
  const reply = await call('POST', 'messages/batch', { body: ` { "messages" : [ ${items.join(' ,\n')} ] } ` })
  t.equal(reply.status, 202)
  const { results } = reply.body
  t.equal(results.length, items.length)
  for (const [i, [code]] of bad.entries()) {
    t.match(results[2 * i + 1], {
      code,
      status: Number,
      title: String,
      detail: String,
      type: `urn:tidings:error:${code}`,
    })
  }
  const seqs = results.flatMap((result: { seq?: number }) => (result.seq === undefined ? [] : [result.seq]))
  t.equal(seqs.length, bad.length + 1)
  t.same(
    drafts.map(({ content }) => content),
    Array.from({ length: bad.length + 1 }, (_, n) => JSON.stringify({ n })),
    'in order',
  )
  t.same(lines, [], 'refusals are not logged')
})

test('__proto__ refuses the whole batch (6)', async (t) => {
  const { call, drafts } = await world(t)
  const body = '{"messages":[{"to":{"user":"bob"},"content":{"__proto__":1}}]}'
  isProblem(t, await call('POST', 'messages/batch', { body }), 400, 'invalid_json', '__proto__')
  t.same(drafts, [])
})

test('all sends of a batch start in one turn, in order, before any of them ends', async (t) => {
  const { call, drafts, behind } = await world(t)
  let startedIn: number | undefined
  let ticks = 0
  behind.accept = ({ conversation, content }) => {
    startedIn ??= ticks
    t.equal(ticks, startedIn, 'same turn')
    process.nextTick(() => ticks++)
    const seq = JSON.parse(content).n
    return new Promise((resolve) => {
      // The later ones end first.
      setTimeout(() => resolve({ id: String(seq), conversation, seq, sentAt: 1, duplicate: false }), 20 - seq)
    })
  }
  const messages = Array.from({ length: 10 }, (_, n) => message({ content: { n } }))
  const reply = await call('POST', 'messages/batch', { body: { messages } })
  t.same(
    reply.body.results.map((result: { seq: number }) => result.seq),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  )
  t.equal(drafts.length, 10)
})

test('what accept refuses is a problem of its message, and what it breaks on is logged', async (t) => {
  const { call, behind, lines } = await world(t)
  behind.accept = async ({ conversation, content }) => {
    const { n } = JSON.parse(content)
    if (n === 1) throw new AppError('overloaded', 'full', { retryAfter: 3 })
    if (n === 2) throw new Error('the secret inside')
    return { id: '1', conversation, seq: 1, sentAt: 1, duplicate: false }
  }
  const messages = [0, 1, 2].map((n) => message({ content: { n } }))
  const reply = await call('POST', 'messages/batch', { body: { messages } })
  t.match(reply.body.results, [
    { seq: 1 },
    { code: 'overloaded', status: 503, retryAfter: 3 },
    { code: 'internal', status: 500 },
  ])
  t.notMatch(reply.text, /secret/)
  t.match(
    lines.filter(({ level }) => level === 'error'),
    [{ msg: 'a request failed', reqId: reply.headers['x-request-id'], err: { message: 'the secret inside' } }],
  )
})

test('500 messages of 16 KiB fit (2)', async (t) => {
  const { call, drafts } = await world(t)
  const content = { t: 'x'.repeat(16_376) }
  const messages = Array.from({ length: 500 }, () => message({ content }))
  t.equal((await call('POST', 'messages/batch', { body: { messages } })).status, 202)
  t.equal(drafts.length, 500)
  const more = { messages, filler: 'x'.repeat(1024 * 1024) }
  isProblem(t, await call('POST', 'messages/batch', { body: more }), 413, 'payload_too_large', 'over 8.5 MiB')
})

test('a service sends in the names of many', async (t) => {
  const { call, drafts } = await world(t)
  const messages = ['carol', 'dan'].map((from) => message({ from, clientId: `of-${from}` }))
  const reply = await call('POST', 'messages/batch', {
    token: SEND_TOKEN,
    body: { messages: [...messages, message()] },
  })
  t.match(reply.body.results, [{ seq: Number }, { seq: Number }, { code: 'invalid_request' }])
  t.match(drafts, [
    { from: 'carol', clientId: 'of-carol' },
    { from: 'dan', clientId: 'of-dan' },
  ])
  const refused = await call('POST', 'messages/batch', { token: READ_TOKEN, body: { messages } })
  isProblem(t, refused, 403, 'forbidden', 'without the scope')
})

test('contents are cut as they are written', async (t) => {
  const contents = [
    '{"a":"]}\\"[{,"}',
    '1',
    '"\\\\"',
    '[ [ ] ,{}]',
    'null',
    '-1.5e3',
    '{ }',
    '"a,b"',
    'true',
    '"\\u0041}"',
  ]
  const items = contents.map((content, i) => `{"to":${i}, "content" : ${content} ,"type":"text"}`)
  t.same(cutContents(`{"messages":[${items.join(',')}]}`), contents)
  t.same(cutContents(` {\n"messages" : [\t${items.join(' \r\n, ')} ] } `), contents)
  t.same(cutContents('{"messages":[]}'), [])
  t.throws(() => cutContents('{"messages":[1],"messages":[2]}'), { code: 'invalid_json' })
})

test('what is no message, or an ill-formed one, leaves its neighbours alone', async (t) => {
  const nothing = ['1', '"\\\\"', '"]}"', '[ [ ] ,{}]', '[{"content":2}]', 'null', '{}', '{"a":{"content":1}}']
  const deep = `{"a":${'['.repeat(8_000)}"]"${']'.repeat(8_000)}}`
  const faulty = [
    '{"a":1,"a":"}"}',
    '{"b":{"c":[1,{"d":1,"d":"\\"]}"}]}}',
    '{"e":"\\ud800"}',
    '{"\\udc00":",{["}',
    deep,
  ]
  const items = [...nothing, ...faulty]
  const text = `{"messages":[${items.map((item) => `{"content":{"n":"\\\\"}},${item}`).join(' ,')}]}`
  t.equal(JSON.parse(text).messages.length, 2 * items.length)
  const cuts = cutContents(text)
  t.equal(cuts.length, 2 * items.length)
  for (const [i, cut] of cuts.entries()) {
    if (i % 2 === 0) t.equal(cut, '{"n":"\\\\"}')
    else if (i < 2 * nothing.length) t.equal(cut, undefined, items[(i - 1) / 2]!)
    else t.match(cut, { code: 'invalid_content' }, items[(i - 1) / 2]!.slice(0, 40))
  }
})
