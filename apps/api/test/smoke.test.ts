import { test } from 'tap'
import { message, world } from './world.js'

test('smoke', async (t) => {
  const w = await world(t)
  const r = await w.send(message())
  console.log(r, w.drafts)
  for (const [m, p, o] of [
    ['GET', 'me'],
    ['GET', 'users/bob'],
    ['GET', 'conversations'],
    ['GET', 'conversations/dm:alice:bob/messages?limit=5'],
    ['POST', 'auth/logout'],
    ['POST', 'auth/ws-ticket'],
    ['POST', 'messages/batch', { body: { messages: [message(), {}, message({ type: 'edit' })] } }],
    ['POST', 'auth/register', { body: { username: 'a', password: '12345678' } }],
    ['GET', '/docs/'],
    ['GET', '/%'],
    ['GET', '/nope'],
    ['PUT', 'me'],
    ['OPTIONS', 'me'],
    ['HEAD', 'me'],
    ['GET', '/docs/static/swagger-initializer.js'],
    ['GET', '/docs/static/nope.js'],
  ] as any) {
    const r = await w.call(m, p, o)
    console.log(m, p, r.status, JSON.stringify(r.headers), r.text.slice(0, 600))
  }
  const d = await w.call('GET', 'openapi.json')
  ;(await import('node:fs')).writeFileSync('/tmp/apiprobe/openapi.json', d.text)
  console.log(await w.metrics.getSingleMetricAsString('tidings_http_in_flight'))
})
