import { connectRpc, logicRpc, rpcToken } from '@tidings/protocol'
import { connectRegistry, type NodeInfo } from '@tidings/registry'
import { createMetrics, noTracing } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { cursorsOf } from '@tidings/store'
import t from 'tap'
import { type LogicConfig, readConfig, startLogic } from '../src/index.js'
import { log, until, world } from './world.js'

const { mysqlUrl, namespace, store, say, people } = await world(t)
const SECRET = 'a secret of tests, thirty-two bytes and more'
const config: LogicConfig = readConfig({
  TIDINGS_REDIS_URL: given('TIDINGS_REDIS_URL'),
  TIDINGS_ETCD_URL: given('TIDINGS_ETCD_URL'),
  TIDINGS_MYSQL_URL: mysqlUrl,
  TIDINGS_NAMESPACE: namespace,
  TIDINGS_PARTITIONS: '4',
  TIDINGS_JWT_SECRET: SECRET,
  TIDINGS_INSTANCE: 'logic-test',
})
const env = () => ({ log, metrics: createMetrics('logic', 'logic-test'), tracing: noTracing })

t.test('it is listed while it runs, answers calls, measures them, and stores its cursors when it stops', async (t) => {
  const app = await startLogic(config, env())
  const registry = await connectRegistry({ urls: config.etcdUrls, namespace, leaseSeconds: 5, log })
  t.after(() => registry.stop())
  let nodes: ReadonlyMap<string, NodeInfo> = new Map()
  await registry.watchNodes('logic', (listed) => {
    nodes = listed
  })
  t.equal(nodes.get('logic-test')?.address, app.rpcAddress)

  const { client, close } = connectRpc(logicRpc.LogicDefinition, app.rpcAddress, rpcToken(SECRET))
  t.after(close)
  const { grant } = await client.register(
    { username: 'zoe', password: 'long enough', displayName: 'Zoe' },
    { deadlineMs: 5_000 },
  )
  t.match(grant, { user: { id: 'zoe', displayName: 'Zoe' } })
  await t.rejects(client.getUser({ user: 'nobody' }), { code: 'user_not_found' })
  await people('yan')
  await say('yan', 'zoe', 'hello')
  const { devices } = await client.openDevices({
    devices: [
      { user: 'zoe', device: 'phone' },
      { user: 'no one', device: 'phone' },
    ],
  })
  t.match(devices, [
    { positions: [{ conversation: 'dm:yan:zoe', cursor: 0, head: 1 }], refusal: undefined },
    { positions: [], refusal: { code: 'invalid_request' } },
  ])
  await client.ack({ acks: [{ user: 'zoe', device: 'phone', conversation: 'dm:yan:zoe', seq: 1 }] })
  const stranger = connectRpc(logicRpc.LogicDefinition, app.rpcAddress, 'not the token')
  t.after(() => stranger.close())
  await t.rejects(stranger.client.getUser({ user: 'zoe' }), { code: 'unauthenticated' })

  const ops = (path: string) => fetch(`http://127.0.0.1:${app.opsPort}${path}`)
  t.same(await (await ops('/readyz')).json(), { status: 'ok', checks: { redis: 'ok', mysql: 'ok', etcd: 'ok' } })
  const metrics = await (await ops('/metrics')).text()
  t.match(metrics, /tidings_stage_total\{stage="logic_getUser",outcome="user_not_found"[^}]*\} 1/)
  t.match(metrics, /tidings_stage_total\{stage="logic_openDevices",outcome="invalid_request"[^}]*\} 1/)
  t.match(metrics, /tidings_write_behind_rows\{[^}]*\} \d/)

  await app.stop()
  await app.stop()
  await until(() => !nodes.has('logic-test'))
  t.match(await cursorsOf(store, ['zoe']), { devices: [{ device: 'phone' }], cursors: [{ seq: 1 }] })
})

t.test('rooms are made by one process, joined by another, and told to whoever watches etcd', async (t) => {
  const apps = [
    await startLogic({ ...config, instance: 'logic-a' }, env()),
    await startLogic({ ...config, instance: 'logic-b' }, env()),
  ]
  const registry = await connectRegistry({ urls: config.etcdUrls, namespace, leaseSeconds: 5, log })
  t.after(() => registry.stop())
  const seen: string[] = []
  const watcher = await registry.etcd.watch().prefix(registry.keys.rooms()).create()
  watcher.on('put', (kv) => seen.push(kv.value.toString()))
  t.after(() => watcher.cancel())
  const links = apps.map(({ rpcAddress }) => connectRpc(logicRpc.LogicDefinition, rpcAddress, rpcToken(SECRET)))
  for (const { close } of links) t.after(close)
  const [a, b] = links.map(({ client }) => client) as [(typeof links)[0]['client'], (typeof links)[0]['client']]
  await people('ann', 'ben')
  const asked = { name: 'Tea', kind: 'permanent', visibility: 'public', history: '', members: [], ttlS: 0 }
  const { room } = await a.createRoom({ user: 'ann', ...asked })
  const conversation = `room:${room?.id}`
  t.match(await b.joinRoom({ user: 'ben', room: room?.id }), { room: { version: 2, role: 'member', members: 2 } })
  const permits = [
    { user: 'ben', conversation },
    { user: 'nobody', conversation },
  ]
  t.match(await a.permits({ permits }), { permits: [{ ttlMs: 600_000 }, { refusal: { code: 'user_not_found' } }] })
  const { devices } = await a.openDevices({ devices: [{ user: 'ben', device: 'phone' }] })
  t.match(devices[0]?.positions, [{ conversation, cursor: 1, head: 2, joined: 2, floor: 0 }])
  const mutedUntil = Date.now() + 60_000
  t.match(await a.setMember({ user: 'ann', room: room?.id, member: 'ben', mutedUntil }), {
    member: { user: 'ben', displayName: 'ben the person', role: 'member', mutedUntil },
  })
  await a.restoreMembers({ conversations: [conversation] })
  await t.rejects(a.restoreMembers({ conversations: ['dm:ann:ben'] }), { code: 'conversation_not_found' })
  await b.deleteRoom({ user: 'ann', room: room?.id })
  await t.rejects(a.getRoom({ user: 'ann', room: room?.id }), { code: 'room_not_found' })
  await until(() => seen.length === 4)
  t.match(
    seen.map((text) => JSON.parse(text)),
    [
      { version: 1, joined: ['ann'], left: [] },
      { version: 2, joined: ['ben'], left: [] },
      { version: 3, joined: [], left: [] },
      { version: 4, joined: [], left: [], ended: true },
    ],
  )
  for (const app of apps) await app.stop()
})

t.test('another number of partitions than the data has is refused at the start', async (t) => {
  await t.rejects(startLogic({ ...config, partitions: 8 }, env()), { name: 'ConfigError', message: /made with 4/ })
})

t.test('it starts while MySQL is away', async (t) => {
  const away = new URL(mysqlUrl)
  away.port = '1'
  const app = await startLogic({ ...config, mysqlUrl: away.href, instance: 'logic-early' }, env())
  const { client, close } = connectRpc(logicRpc.LogicDefinition, app.rpcAddress, rpcToken(SECRET))
  await t.rejects(client.getUser({ user: 'zoe' }), { code: 'unavailable' })
  t.equal((await fetch(`http://127.0.0.1:${app.opsPort}/readyz`)).status, 503)
  close()
  await app.stop()
})

t.test('registration is open, unless it is closed or people come from elsewhere', async (t) => {
  const base = {
    TIDINGS_REDIS_URL: 'redis://r',
    TIDINGS_ETCD_URL: 'http://e',
    TIDINGS_MYSQL_URL: 'mysql://m/d',
    TIDINGS_JWT_SECRET: SECRET,
  }
  t.equal(readConfig(base).registration, 'open')
  t.equal(readConfig({ ...base, TIDINGS_REGISTRATION: 'closed' }).registration, 'closed')
  t.equal(readConfig({ ...base, TIDINGS_JWKS_URL: 'https://idp/jwks' }).registration, 'closed')
  t.equal(
    readConfig({ ...base, TIDINGS_JWKS_URL: 'https://idp/jwks', TIDINGS_REGISTRATION: 'open' }).registration,
    'open',
  )
  t.throws(() => readConfig({}), { name: 'ConfigError' })
})

t.end()
