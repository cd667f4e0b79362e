/** The pre-send hook, against a real server that is as slow, dead or foolish as a test wants it. */
import { createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger, createMetrics } from '@tidings/service'
import t, { type Test } from 'tap'
import { createPreSend, type PreSend, type PreSendConfig } from '../src/index.js'
import { createBreaker } from '../src/pre-send/breaker.js'
import { createPreSendMetrics } from '../src/pre-send/metrics.js'

const SECRET = 'a secret of the tests, longer than 32 bytes'
const log = createLogger({ app: 'test', instance: 'test', level: 'silent' })

type Handler = (body: string, response: ServerResponse, request: IncomingMessage) => void

interface Hook {
  url: string
  /** Bodies in the order of their arrival. */
  bodies: string[]
  /** Connections that were ever opened. */
  connections: number
  handle: Handler
}

const says =
  (answer: unknown, status = 200): Handler =>
  (_, response) =>
    void response.writeHead(status).end(typeof answer === 'string' ? answer : JSON.stringify(answer))

async function hookServer(t: Test, handle: Handler): Promise<Hook> {
  const hook: Hook = { url: '', bodies: [], connections: 0, handle }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      hook.bodies.push(body)
      hook.handle(body, response, request)
    })
  })
  server.on('connection', () => hook.connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  hook.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/check`
  return hook
}

function preSend(t: Test, url: string, over: Partial<PreSendConfig> = {}): PreSend & { outcomes(): Promise<string> } {
  const metrics = createMetrics('test', 'test')
  const config = { url, secret: SECRET, deadlineMs: 5_000, onFailure: 'reject', ...over } as const
  const made = createPreSend(config, createPreSendMetrics(metrics), log)
  t.teardown(() => made.stop())
  return { ...made, outcomes: () => metrics.metrics() }
}

const draft = (over: object = {}) => ({
  conversation: 'dm:alice:bob',
  from: 'alice',
  type: 'text',
  content: '{"text":"hello","n":1.50}',
  clientId: 'c-1',
  ...over,
})

t.test('the hook is shown the message as it would be accepted, signed, over connections that stay open', async (t) => {
  const signatures: boolean[] = []
  const hook = await hookServer(t, (body, response, { headers }) => {
    const { 'x-tidings-timestamp': timestamp, 'x-tidings-signature': signature } = headers
    signatures.push(signature === createHmac('sha256', SECRET).update(`${timestamp}.${body}`).digest('hex'))
    says({ action: 'allow' })(body, response, {} as IncomingMessage)
  })
  const { ask } = preSend(t, hook.url)
  t.same(await ask(draft(), ['odd']), { action: 'allow' })
  t.same(await ask(draft({ clientId: '' }), []), { action: 'allow' })
  t.equal(
    hook.bodies[0],
    '{"conversation":"dm:alice:bob","from":"alice","type":"text","clientId":"c-1","flagged":["odd"],"content":{"text":"hello","n":1.50}}',
  )
  t.same(signatures, [true, true])
  t.equal(hook.connections, 1)
})

t.test('it may refuse, with a reason for the sender, or put another content in place', async (t) => {
  const hook = await hookServer(t, says({ action: 'reject', reason: 'not\nhere\u202e' }))
  const { ask } = preSend(t, hook.url)
  t.same(await ask(draft(), []), { action: 'reject', reason: 'not here' })
  hook.handle = says('{"action":"replace", "content" : {"text":"\\u0041","n":2.0}}')
  t.same(await ask(draft(), []), { action: 'replace', content: '{"text":"\\u0041","n":2.0}' })
  const edit = draft({ type: 'edit', content: '{"target":"42","seq":7,"content":{"text":"new"}}' })
  t.same(await ask(edit, []), {
    action: 'replace',
    content: '{"target":"42","seq":7,"content":{"text":"\\u0041","n":2.0}}',
  })
  t.match(JSON.parse(hook.bodies.at(-1)!), { type: 'edit', edits: '42', content: { text: 'new' } })
})

t.test('what is no answer counts as none: the set answer is given', async (t) => {
  const hook = await hookServer(t, says(''))
  const nonsense: [string, Handler][] = [
    ['empty', says('')],
    ['no JSON', says('allow')],
    ['no object', says('["allow"]')],
    ['no action', says({ action: 'perhaps' })],
    ['content that is none', says({ action: 'replace', content: 'text' })],
    ['no content', says({ action: 'replace' })],
    ['a reply to no message', says({ action: 'replace', content: { replyTo: 'vile' } })],
    ['a key twice', says('{"action":"replace","content":{"a":1,"a":2}}')],
    ['content that is too large', says({ action: 'replace', content: { text: 'a'.repeat(17_000) } })],
    ['an answer that is too large', says({ action: 'allow', more: 'a'.repeat(70_000) })],
    ['a status', says({ action: 'allow' }, 500)],
    ['a redirect', (_, response) => void response.writeHead(302, { location: '/other' }).end()],
    ['a cut', (_, response) => void response.destroy()],
    [
      'another protocol',
      (_, response) =>
        void response.socket!.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
    ],
  ]
  for (const [name, handle] of nonsense) {
    // One each: several failures in a row are the next test's.
    hook.handle = handle
    await t.rejects(preSend(t, hook.url).ask(draft(), []), { code: 'unavailable', retryAfter: Number }, name)
    t.same(await preSend(t, hook.url, { onFailure: 'allow' }).ask(draft(), []), { action: 'allow' }, name)
  }
  t.ok(hook.bodies.length >= 2 * nonsense.length)
  t.notOk(
    hook.bodies.some((body) => body === ''),
    'no redirect was followed',
  )
})

t.test('a hook that is slow costs no more than the deadline, and a dead one soon nothing', async (t) => {
  const hook = await hookServer(t, () => undefined)
  const { ask, outcomes } = preSend(t, hook.url, { deadlineMs: 300, onFailure: 'allow' })
  for (let i = 0; i < 5; i++) await ask(draft(), [])
  t.equal(hook.bodies.length, 5)
  const began = performance.now()
  for (let i = 0; i < 200; i++) await ask(draft(), [])
  t.ok(performance.now() - began < 1_000, 'nobody waited')
  t.equal(hook.bodies.length, 5, 'it was not asked any more')
  t.match(await outcomes(), /tidings_pre_send_seconds_count\{[^}]*outcome="open"[^}]*\} 200/)
  hook.handle = says({ action: 'reject', reason: 'back' })
  let answer = await ask(draft(), [])
  while (answer.action === 'allow') {
    await new Promise((resolve) => setTimeout(resolve, 50))
    answer = await ask(draft(), [])
  }
  t.same(answer, { action: 'reject', reason: 'back' })
})

t.test('nobody listens: the set answer, at once', async (t) => {
  const hook = await hookServer(t, says({ action: 'allow' }))
  const gone = hook.url.replace(/:\d+/, ':1')
  await t.rejects(preSend(t, gone).ask(draft(), []), { code: 'unavailable' })
})

t.test('calls are bounded, and what waits does so for the deadline at most', async (t) => {
  const held: ServerResponse[] = []
  const hook = await hookServer(t, (_, response) => void held.push(response))
  const { ask, outcomes } = preSend(t, hook.url, { deadlineMs: 10_000, onFailure: 'allow' })
  const asked = Array.from({ length: 64 + 1_024 + 3 }, (_, i) => ask(draft({ clientId: `c-${i}` }), []))
  await Promise.all(asked.slice(-3))
  t.match(await outcomes(), /tidings_pre_send_seconds_count\{[^}]*outcome="full"[^}]*\} 3/)
  while (held.length < 64) await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal(hook.connections, 64)
  hook.handle = says({ action: 'allow' })
  for (const response of held) response.end('{"action":"allow"}')
  await Promise.all(asked)
  t.match(await outcomes(), /tidings_pre_send_seconds_count\{[^}]*outcome="allow"[^}]*\} 1088/)
  t.equal(hook.connections, 64)

  const slow = await hookServer(t, () => undefined)
  const impatient = preSend(t, slow.url, { deadlineMs: 400, onFailure: 'allow' })
  const began = performance.now()
  await Promise.all(Array.from({ length: 500 }, () => impatient.ask(draft(), [])))
  t.ok(performance.now() - began < 2_000, 'those in the queue did not wait one after the other')
})

t.test(
  'the breaker opens after failures in a row, lets one try after a pause, and closes when it does well',
  async (t) => {
    let now = 0
    const changes: boolean[] = []
    const breaker = createBreaker(
      3,
      1_000,
      (isOpen) => changes.push(isOpen),
      () => now,
    )
    for (let i = 0; i < 2; i++) breaker.failed()
    breaker.succeeded()
    for (let i = 0; i < 2; i++) breaker.failed()
    t.ok(breaker.admit())
    breaker.failed()
    t.notOk(breaker.admit())
    now = 1_000
    t.ok(breaker.admit(), 'one tries')
    t.notOk(breaker.admit(), 'only one')
    breaker.failed()
    now = 1_999
    t.notOk(breaker.admit())
    now = 2_000
    t.ok(breaker.admit())
    breaker.succeeded()
    t.ok(breaker.admit())
    t.same(changes, [true, false])
  },
)
