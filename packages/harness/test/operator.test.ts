import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startTracing } from '@tidings/service'
import t from 'tap'
import { until, world } from '../src/index.js'

t.test(
  'an entry written by hand with broken fields goes to the dead stream of both groups, and the workers go on',
  async (t) => {
    const w = await world(t, { env: { TIDINGS_PARTITIONS: '1' } })
    const alice = await w.user()
    const bob = await w.user()
    const socket = await bob.connect()
    const stream = w.keys.messages(0)
    await w.redis.xadd(stream, '*', 'hello', 'world')
    await w.redis.xadd(
      stream,
      '*',
      'id',
      '1',
      'conversation',
      `dm:${bob.name}:${bob.name}`,
      'seq',
      'x',
      'n',
      '1',
      'from',
      'a',
      'type',
      'text',
      'content',
      '{}',
      'clientId',
      '',
      'sentAt',
      '1',
      'trace',
      '',
    )
    await alice.send(bob)
    t.match(await socket.nextMessage(), { seq: 1 })
    for (const group of ['push', 'persist'] as const) {
      await until(`two letters of ${group}`, async () => (await w.redis.xlen(w.keys.dead(0, group))) === 2)
      const letters = await w.redis.xrange(w.keys.dead(0, group), '-', '+')
      t.ok(letters.every(([, fields]) => fields.includes('reason') && fields.includes('entry')))
    }
    t.equal(socket.messages().length, 1)
  },
)

t.test('an entry that MySQL already holds otherwise is a conflict to be seen, and the row stays', async (t) => {
  const w = await world(t, { env: { TIDINGS_PARTITIONS: '1' } })
  const alice = await w.user()
  const bob = await w.user()
  const { conversation, id } = await alice.send(bob, { text: 'the real one' })
  const rows = () =>
    w.store.use((db) =>
      db.select<{ id: string; content: string }>('SELECT id, content FROM entries WHERE conversation = ?', [
        conversation,
      ]),
    )
  await until('stored', async () => (await rows()).length === 1)
  await w.redis.xadd(
    w.keys.messages(0),
    '*',
    'id',
    '77',
    'conversation',
    conversation,
    'seq',
    '1',
    'n',
    '1',
    'from',
    alice.name,
    'type',
    'text',
    'content',
    '{"text":"forged"}',
    'clientId',
    '',
    'sentAt',
    '1',
    'trace',
    '',
  )
  await until('a letter', async () => (await w.redis.xlen(w.keys.dead(0, 'persist'))) === 1)
  const [[, fields]] = (await w.redis.xrange(w.keys.dead(0, 'persist'), '-', '+')) as [[string, string[]]]
  t.equal(fields[fields.indexOf('reason') + 1], 'seq_conflict')
  t.match(await rows(), [{ id, content: '{"text":"the real one"}' }])
})

t.test('one trace shows accept, append, push, deliver and persist; the stream entry carries it', async (t) => {
  interface SentSpan {
    name: string
    traceId: string
    spanId: string
    parentSpanId?: string
  }
  const spans: SentSpan[] = []
  const collector = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      const { resourceSpans } = JSON.parse(body) as { resourceSpans: { scopeSpans: { spans: SentSpan[] }[] }[] }
      for (const { scopeSpans } of resourceSpans) for (const scope of scopeSpans) spans.push(...scope.spans)
      response.setHeader('content-type', 'application/json').end('{}')
    })
  })
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
  t.teardown(() => collector.close())
  const tracing = await startTracing({
    url: `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`,
    app: 'world',
    instance: 'w',
  })
  t.teardown(() => tracing.stop())
  const w = await world(t, { tracing })
  const alice = await w.user()
  const bob = await w.user()
  const socket = await bob.connect()
  const traceId = 'a1'.repeat(16)
  const sent = await w.http<{ conversation: string }>('POST', 'messages', {
    token: alice.token,
    body: { to: { user: bob.name }, content: {} },
    headers: { traceparent: `00-${traceId}-${'b2'.repeat(8)}-01` },
  })
  t.equal(sent.status, 202)
  await socket.nextMessage()
  const wanted = ['accept', 'append', 'push', 'deliver', 'persist']
  await until('all five spans', () =>
    wanted.every((name) => spans.some((span) => span.name === name && span.traceId === traceId)),
  )
  const of = (name: string) => spans.find((span) => span.name === name && span.traceId === traceId)!
  t.equal(of('append').parentSpanId, of('accept').spanId)
  t.equal(of('push').parentSpanId, of('accept').spanId)
  t.equal(of('deliver').parentSpanId, of('push').spanId)
  t.equal(of('persist').parentSpanId, of('accept').spanId)
  const p = w.keys.partitionOf(sent.body.conversation)
  const [[, fields]] = (await w.redis.xrange(w.keys.messages(p), '-', '+')) as [[string, string[]]]
  t.match(fields[fields.indexOf('trace') + 1], new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`))
})

t.test('what each process tells an operator', async (t) => {
  const w = await world(t)
  const alice = await w.user()
  const bob = await w.user()
  const socket = await bob.connect()
  await alice.send(bob)
  await socket.nextMessage()
  const get = async (app: string, path: string) => await fetch(`http://127.0.0.1:${w.ops.get(`${app}-1`)}${path}`)
  for (const app of ['api', 'logic', 'task', 'connect']) {
    for (const path of ['/healthz', '/readyz']) t.equal((await get(app, path)).status, 200, `${app} ${path}`)
  }
  const metrics = async (app: string) => await (await get(app, '/metrics')).text()
  t.match(await metrics('api'), /tidings_stage_total\{stage="accept",outcome="ok".*\} 1\n/)
  t.match(await metrics('api'), /tidings_stage_total\{stage="append",outcome="ok".*\} 1\n/)
  await until('persisted', async () => /stage="persist",outcome="ok".*\} 1\n/.test(await metrics('task')))
  const task = await metrics('task')
  for (const stage of ['route', 'push'])
    t.match(task, new RegExp(`tidings_stage_total\\{stage="${stage}",outcome="ok".*\\} 1\\n`))
  t.match(task, /tidings_group_entries\{group="persist",partition="\d",state="lag".*\} 0/)
  t.match(task, /tidings_routed_sessions.* 1\n/)
  t.match(await metrics('connect'), /tidings_stage_total\{stage="deliver",outcome="ok".*\} 1\n/)
  t.match(await metrics('connect'), /tidings_sessions.* 1\n/)
})
