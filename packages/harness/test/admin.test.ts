/** What an operator does, on real stores and real sockets. */
import { randomBytes } from 'node:crypto'
import { signedHeaders } from '@tidings/service'
import t from 'tap'
import { until } from '../src/until.js'
import { type Reply, type World, world } from '../src/world.js'

const KEY = { name: 'ops', secret: randomBytes(32).toString('hex') }
const env = { TIDINGS_ADMIN_KEYS: `${KEY.name}:${KEY.secret}` }

/** A signed call. */
function operator({ http }: World, key = KEY) {
  return async <T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    api = 0,
  ): Promise<Reply<T>> => {
    const text = body === undefined ? '' : JSON.stringify(body)
    const headers = signedHeaders(key, { method, target: `/api/v1/${path}`, body: text })
    return http<T>(method, path, { headers, api, ...(text !== '' && { body: text }) })
  }
}

t.test('processes and partitions are listed; a request is taken once by all api processes together', async (t) => {
  const it = await world(t, { env, count: { api: 2, connect: 2 } })
  const admin = operator(it)
  const alice = await it.user()
  const bob = await it.user()
  await bob.connect({ node: 1 })
  const nodes = await admin<{ nodes: { app: string; instance: string }[]; sessions: number }>('GET', 'admin/nodes')
  t.same(nodes.body.nodes.map(({ instance }) => instance).sort(), [
    'api-1',
    'api-2',
    'connect-1',
    'connect-2',
    'logic-1',
    'task-1',
  ])
  t.equal(nodes.body.sessions, 1)

  await alice.send(bob)
  const partitions = async () =>
    (await admin<{ partitions: Record<string, unknown>[]; owners: boolean }>('GET', 'admin/partitions', undefined, 1))
      .body
  await until('the entry is settled, and all partitions have an owner', async () =>
    (await partitions()).partitions.every(
      ({ owner, lag, pending }) => owner === 'task-1' && lag === 0 && pending === 0,
    ),
  )
  const { partitions: rows, owners } = await partitions()
  t.equal(rows.length, 2 * 4)
  t.equal(owners, true)
  t.ok(rows.every(({ oldest, dead, fence }) => oldest === null && dead === 0 && Number(fence) > 0))
  // Nobody works: the oldest entry shows.
  await it.stop('task')
  const { sentAt } = await alice.send(bob)
  await until('two groups are behind', async () => {
    const behind = (await partitions()).partitions.filter(({ lag }) => lag === 1)
    return behind.length === 2 && behind.every(({ oldest }) => Math.abs(Number(oldest) - sentAt) < 10_000)
  })

  const headers = signedHeaders(KEY, { method: 'GET', target: '/api/v1/admin/nodes', body: '' })
  t.equal((await it.http('GET', 'admin/nodes', { headers, api: 0 })).status, 200)
  t.match(await it.http('GET', 'admin/nodes', { headers, api: 1 }), {
    status: 401,
    body: { code: 'signature_replayed' },
  })
})
