/** The OpenAPI document tells the truth, and its pages need nothing from elsewhere. */
import { errorTable } from '@tidings/protocol'
import { test } from 'tap'
import { ROOM, world } from './world.js'

interface Operation {
  operationId: string
  summary: string
  description: string
  tags: string[]
  security?: unknown[]
  requestBody?: { content: Record<string, { example?: unknown; examples?: unknown }> }
  responses: Record<string, { description: string; headers?: object; content?: Record<string, { schema: object }> }>
}

interface Document {
  openapi: string
  info: { title: string; version: string }
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, object>; securitySchemes: Record<string, object> }
}

test('the document describes every route, fully', async (t) => {
  const { call } = await world(t)
  const reply = await call('GET', 'openapi.json', { as: false })
  t.equal(reply.status, 200)
  const document = reply.body as Document
  t.match(document, { openapi: /^3\.1\./, info: { title: 'Tidings', version: String } })
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, ...operation })),
  )
  t.same(
    operations.map(({ name }) => name).sort(),
    [
      'DELETE /api/v1/admin/dead/{partition}/{group}/{id}',
      'DELETE /api/v1/admin/limits',
      'DELETE /api/v1/admin/sessions/{user}',
      'DELETE /api/v1/admin/sessions/{user}/{session}',
      'DELETE /api/v1/admin/users/{id}',
      'DELETE /api/v1/admin/users/{id}/disabled',
      'DELETE /api/v1/admin/users/{user}/devices/{device}',
      'DELETE /api/v1/admin/words',
      'DELETE /api/v1/blocks/{user}',
      'DELETE /api/v1/files/{id}',
      'DELETE /api/v1/me',
      'DELETE /api/v1/me/devices/{device}',
      'DELETE /api/v1/me/push-subscriptions/{device}',
      'DELETE /api/v1/messages/{id}',
      'DELETE /api/v1/messages/{id}/reactions/{emoji}',
      'DELETE /api/v1/rooms/{id}',
      'DELETE /api/v1/rooms/{id}/bans/{user}',
      'DELETE /api/v1/rooms/{id}/members/{user}',
      'DELETE /api/v1/users/{id}',
      'DELETE /api/v1/users/{id}/disabled',
      'DELETE /api/v1/webhooks/{id}',
      'GET /api/v1/admin/dead',
      'GET /api/v1/admin/flagged',
      'GET /api/v1/admin/limits',
      'GET /api/v1/admin/messages/{id}',
      'GET /api/v1/admin/nodes',
      'GET /api/v1/admin/partitions',
      'GET /api/v1/admin/sessions',
      'GET /api/v1/admin/users/{id}',
      'GET /api/v1/admin/users/{user}/devices',
      'GET /api/v1/admin/words',
      'GET /api/v1/blocks',
      'GET /api/v1/conversations',
      'GET /api/v1/conversations/{id}/messages',
      'GET /api/v1/files/{id}',
      'GET /api/v1/me',
      'GET /api/v1/me/devices',
      'GET /api/v1/me/export',
      'GET /api/v1/me/push-subscriptions',
      'GET /api/v1/messages/{id}',
      'GET /api/v1/offline',
      'GET /api/v1/presence',
      'GET /api/v1/push/vapid-key',
      'GET /api/v1/rooms',
      'GET /api/v1/rooms/{id}',
      'GET /api/v1/rooms/{id}/bans',
      'GET /api/v1/rooms/{id}/members',
      'GET /api/v1/search',
      'GET /api/v1/users/{id}',
      'GET /api/v1/webhooks',
      'GET /api/v1/webhooks/{id}/dead',
      'PATCH /api/v1/conversations/{id}',
      'PATCH /api/v1/me',
      'PATCH /api/v1/messages/{id}',
      'PATCH /api/v1/rooms/{id}',
      'PATCH /api/v1/webhooks/{id}',
      'POST /api/v1/admin/dead/{partition}/{group}/{id}/requeue',
      'POST /api/v1/admin/users',
      'POST /api/v1/auth/login',
      'POST /api/v1/auth/logout',
      'POST /api/v1/auth/refresh',
      'POST /api/v1/auth/register',
      'POST /api/v1/auth/ws-ticket',
      'POST /api/v1/conversations/{id}/ack',
      'POST /api/v1/conversations/{id}/read',
      'POST /api/v1/files',
      'POST /api/v1/files/{id}/ticket',
      'POST /api/v1/me/push-subscriptions',
      'POST /api/v1/messages',
      'POST /api/v1/messages/batch',
      'POST /api/v1/push',
      'POST /api/v1/rooms',
      'POST /api/v1/rooms/{id}/join',
      'POST /api/v1/rooms/{id}/leave',
      'POST /api/v1/rooms/{id}/members',
      'POST /api/v1/users',
      'POST /api/v1/webhooks',
      'POST /api/v1/webhooks/{id}/dead/retry',
      'PUT /api/v1/admin/limits',
      'PUT /api/v1/admin/users/{id}/disabled',
      'PUT /api/v1/admin/words',
      'PUT /api/v1/blocks/{user}',
      'PUT /api/v1/messages/{id}/reactions/{emoji}',
      'PUT /api/v1/rooms/{id}/bans/{user}',
      'PUT /api/v1/rooms/{id}/members/{user}',
      'PUT /api/v1/users/{id}/disabled',
    ],
    'every route, and nothing else',
  )
  t.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length, 'unique operationIds')
  for (const { name, summary, description, tags, security, requestBody, responses } of operations) {
    t.ok(summary && description && tags.length === 1, `${name}: summary, description, tag`)
    const open = /auth\/(register|login|refresh)$/.test(name)
    t.equal(security !== undefined, !open, `${name}: security`)
    t.equal('401' in responses || name.endsWith('register'), true, `${name}: 401`)
    const body = requestBody?.content['application/json']
    if (requestBody && name !== 'POST /api/v1/files')
      t.ok(body?.example ?? body?.examples, `${name}: an example of the body`)
    t.equal(Object.keys(responses).filter((status) => status.startsWith('2')).length, 1, `${name}: one success`)
    for (const [status, { description: what, content }] of Object.entries(responses)) {
      t.ok(what && what !== 'Default Response', `${name} ${status}: described`)
      if (Number(status) < 400) continue
      t.same(
        content?.['application/problem+json']?.schema,
        { $ref: '#/components/schemas/Problem' },
        `${name} ${status}`,
      )
    }
    t.ok(responses['503']?.headers, `${name}: Retry-After`)
  }
})

test('schemas have names, references lead somewhere, and nothing of the tools shows', async (t) => {
  const { call } = await world(t)
  const { text, body } = await call('GET', 'openapi.json', { as: false })
  const { schemas } = (body as Document).components
  t.same(Object.keys(schemas).sort(), ['Member', 'Message', 'Problem', 'Room', 'Sent', 'User'])
  t.notMatch(text, /def-\d|schema-\d|\$id|~kind|localhost|file:/)
  const references = [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name!)
  t.ok(references.length > 20)
  for (const name of new Set(references)) t.ok(schemas[name], name)
  t.equal([...text.matchAll(/"\$ref":"(?!#\/components)/g)].length, 0, 'no other references')
  t.match(schemas.Problem, { properties: { code: { enum: Object.keys(errorTable) } } })
})

test('the answers of the server are what the document says', async (t) => {
  const { call, send } = await world(t)
  const { paths } = (await call('GET', 'openapi.json')).body as Document
  const sent = await send(paths['/api/v1/messages']!.post!.requestBody!.content['application/json']!.example)
  t.equal(sent.status, 202, 'the example of a message works')
  const batch = paths['/api/v1/messages/batch']!.post!.requestBody!.content['application/json']!.example
  t.match((await call('POST', 'messages/batch', { body: batch })).body.results, [{ seq: Number }, { seq: Number }])
  const ofRooms = [
    ['post', '', 201],
    ['patch', '/{id}', 200],
    ['post', '/{id}/members', 200],
    ['put', '/{id}/members/{user}', 200],
  ] as const
  for (const [method, path, status] of ofRooms) {
    const body = paths[`/api/v1/rooms${path}`]![method]!.requestBody!.content['application/json']!.example
    const at = `rooms${path.replace('{id}', ROOM).replace('{user}', 'bob')}`
    t.equal((await call(method.toUpperCase(), at, { body })).status, status, `the example of ${method} ${path} works`)
  }
  for (const path of ['register', 'login', 'refresh']) {
    const body = paths[`/api/v1/auth/${path}`]!.post!.requestBody!.content['application/json']!.example
    t.match(
      (await call('POST', `auth/${path}`, { as: false, body })).status,
      /^20[01]$/,
      `the example of ${path} works`,
    )
  }
})

test('the pages come from this server, under a policy', async (t) => {
  const { call } = await world(t)
  const page = await call('GET', '/docs/', { as: false })
  t.equal(page.status, 200)
  t.match(page.headers['content-security-policy'], /default-src 'none'; script-src 'self'/)
  t.notMatch(page.text, /https?:\/\//)
  const files = [...page.text.matchAll(/(?:src|href)="\.?([^"]+)"/g)].map(([, path]) => path!)
  t.ok(files.length >= 5)
  for (const path of files) t.equal((await call('GET', `/docs${path}`, { as: false })).status, 200, path)
  const bare = await call('GET', '/docs', { as: false })
  t.ok(bare.status === 200 || bare.status === 302, 'without the slash too')
  const start = await call('GET', '/docs/static/swagger-initializer.js', { as: false })
  t.match(start.text, /\/api\/v1\/openapi\.json/)
  t.notMatch(
    (await call('GET', 'me')).headers,
    { 'content-security-policy': String },
    'no policy on the calls themselves',
  )
})
