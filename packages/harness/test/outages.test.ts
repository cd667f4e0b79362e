/** Promise 6: what goes on while a store is away, and that nothing accepted is lost. Each test has a store of its own to end. */
import { setOutOfSpace, startEtcd, startMysql, startRedis } from '@tidings/infra'
import { connectEtcd, createRegistryKeys, readAll } from '@tidings/registry'
import { GENERATION_SEQS } from '@tidings/stream'
import t from 'tap'
import { TestClient, until, type World, world } from '../src/index.js'

const storedRows = async (w: World, conversation: string): Promise<number> => {
  const [row] = await w.store.use((db) =>
    db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries WHERE conversation = ?', [conversation]),
  )
  return Number(row!.n)
}
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

t.test('MySQL away: sending, live delivery and short catch-up go on, and all is stored when it returns', async (t) => {
  const mysql = await startMysql()
  t.teardown(() => mysql.stop())
  const w = await world(t, { stores: { mysqlUrl: mysql.url } })
  const alice = await w.user()
  const bob = await w.user()
  const carol = await w.user()
  const dave = await w.user()
  const live = await bob.connect({ device: 'live' })
  const carols = await carol.connect()
  const phone = await bob.connect({ device: 'phone' })
  const { conversation } = await alice.send(bob)
  await phone.until('the first', () => phone.seqs().length === 1)
  await until('stored', async () => (await storedRows(w, conversation)) === 1)
  await phone.close()

  await mysql.kill()
  for (let i = 0; i < 30; i++) await alice.send(bob)
  await live.until('live delivery goes on', () => live.seqs().length === 31)
  const back = await bob.connect({ device: 'phone' })
  t.same(back.seqs(), upTo(31), 'what the log holds is caught up without MySQL')
  // Nobody has asked yet whether these may write to each other.
  await carol.send(dave)
  carols.send({ op: 'send', to: { user: bob.name }, content: { text: 'first' }, clientId: 'first' })
  t.match(await carols.next('sent'), { clientId: 'first', seq: 1 })
  await live.until('from somebody new', () => live.messages().some(({ from }) => from === carol.name))
  const older = await w.http('POST', 'auth/login', {
    body: { username: bob.name, password: `password of ${bob.name}` },
  })
  t.equal(older.status, 503, 'what needs MySQL says later')
  t.ok(older.headers.get('retry-after'))

  await mysql.restart()
  await until('all is stored', async () => (await storedRows(w, conversation)) === 31, 30_000)
  const p = w.keys.partitionOf(conversation)
  t.equal(await w.redis.xlen(w.keys.dead(p, 'persist')), 0, 'nothing was counted against an entry')
})

t.test(
  'MySQL frozen: sending and live delivery go on, also between people who never wrote to each other',
  async (t) => {
    const mysql = await startMysql()
    t.teardown(() => mysql.stop())
    const w = await world(t, { stores: { mysqlUrl: mysql.url } })
    const alice = await w.user()
    const bob = await w.user()
    const bobs = await bob.connect()
    const alices = await alice.connect()
    mysql.freeze()
    for (let i = 0; i < 10; i++) await alice.send(bob)
    alices.send({ op: 'send', to: { user: bob.name }, content: { text: 'by socket' }, clientId: 'by-socket' })
    t.match(await alices.next('sent'), { clientId: 'by-socket', seq: 11 })
    await bobs.until('all of it, live', () => bobs.seqs().length === 11)
    const history = await w.http('GET', 'conversations', { token: bob.token })
    t.equal(history.status, 503, 'what needs MySQL says later')
    mysql.thaw()
    const conversation = bobs.messages()[0]!.conversation
    await until('all is stored', async () => (await storedRows(w, conversation)) === 11)
  },
)

t.test('Redis away: 503 at once, sockets stay open, and delivery resumes by itself', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const w = await world(t, { stores: { redisUrl: redis.url } })
  const alice = await w.user()
  const bob = await w.user()
  const socket = await bob.connect()
  const sender = await alice.connect()
  for (let i = 0; i < 10; i++) await alice.send(bob)
  await socket.until('ten', () => socket.seqs().length === 10)

  await redis.kill()
  const body = { to: { user: bob.name }, content: {}, clientId: 'during' }
  for (let i = 0; i < 5; i++) {
    const began = performance.now()
    const refused = await w.http('POST', 'messages', { token: alice.token, body })
    t.equal(refused.status, 503)
    t.ok(refused.headers.get('retry-after'))
    t.ok(performance.now() - began < 2_000, 'no hanging')
  }
  sender.send({ op: 'send', to: { user: bob.name }, content: {}, clientId: 'by-socket' })
  t.match(await sender.next('error'), { clientId: 'by-socket', retryAfter: Number })
  t.equal(socket.closeCode, undefined)

  await redis.restart()
  await until(
    'sending again',
    async () => (await w.http('POST', 'messages', { token: alice.token, body })).status === 202,
  )
  await socket.until('the same socket gets it', () => socket.seqs().length === 11)
  const first = 2 * GENERATION_SEQS + 1
  t.same(socket.seqs(), [...upTo(10), first], 'what a Redis that was killed may have forgotten is not given again')
  const { conversation } = socket.messages()[0]!
  t.match(await socket.next('void'), { conversation, from: 11, to: first - 1 })
  sender.send({ op: 'send', to: { user: bob.name }, content: {}, clientId: 'by-socket' })
  t.match(await sender.next('sent'), { clientId: 'by-socket', seq: first + 1 })
  await until('all stored', async () => (await storedRows(w, conversation)) === 13, 20_000)
})

t.test('Redis frozen for three seconds: no answer is invented, nothing is doubled', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const w = await world(t, { stores: { redisUrl: redis.url } })
  const alice = await w.user()
  const bob = await w.user()
  const socket = await bob.connect()
  await alice.send(bob)
  redis.freeze()
  const body = { to: { user: bob.name }, content: { text: 'once' }, clientId: 'frozen' }
  const began = performance.now()
  const unknown = await w.http<{ code: string }>('POST', 'messages', { token: alice.token, body })
  t.equal(unknown.status, 503)
  t.equal(unknown.body.code, 'outcome_unknown')
  t.ok(performance.now() - began < 2_500)
  redis.thaw()
  await until('accepted', async () => (await w.http('POST', 'messages', { token: alice.token, body })).status === 202)
  await socket.until('both', () => socket.seqs().length === 2)
  t.same(socket.seqs(), [1, 2], 'the same clientId is one entry')
})

t.test('etcd away: live sessions go on, new ones are served, and all is listed when it returns', async (t) => {
  const etcd = await startEtcd()
  t.teardown(() => etcd.stop())
  const w = await world(t, {
    stores: { etcdUrl: etcd.url },
    env: { TIDINGS_NODE_LEASE_S: '3', TIDINGS_WORKER_LEASE_S: '2' },
  })
  const alice = await w.user()
  const bob = await w.user()
  const live = await bob.connect({ device: 'live' })
  const { conversation } = await alice.send(bob)
  await live.until('before', () => live.seqs().length === 1)

  await etcd.kill()
  for (let i = 0; i < 10; i++) await alice.send(bob)
  await live.until('delivery goes on', () => live.seqs().length === 11)
  const fresh = await TestClient.open(`${w.connects[0]!.url}?device=new`, { token: bob.token })
  t.teardown(() => fresh.ws.terminate())
  await fresh.until('a new session is served', () => fresh.frames.some((frame) => frame.op === 'synced'))
  await alice.send(bob)
  await fresh.until('and shown what comes', () => fresh.seqs().includes(12))
  await until('persist goes on', async () => (await storedRows(w, conversation)) === 12)

  await etcd.restart()
  await alice.send(bob)
  await live.until('after', () => live.seqs().length === 13)
  t.same(live.seqs(), upTo(13))
  await until('ready again', async () => (await fetch(`http://127.0.0.1:${w.ops.get('connect-1')}/readyz`)).ok, 20_000)
  const late = await bob.connect({ device: 'late' })
  await alice.send(bob)
  await late.until('routes are known again', () => late.seqs().includes(14))
})

t.test(
  'etcd out of space: all goes on as if it were away, every process says so, and all is listed again',
  async (t) => {
    const etcd = await startEtcd()
    t.teardown(() => etcd.stop())
    const w = await world(t, { stores: { etcdUrl: etcd.url }, env: { TIDINGS_NODE_LEASE_S: '3' } })
    const alice = await w.user()
    const bob = await w.user()
    const live = await bob.connect({ device: 'live' })
    const readiness = async (): Promise<string[]> => {
      const ready = [...w.ops].map(async ([name, port]) => {
        const reply = await fetch(`http://127.0.0.1:${port}/readyz`)
        return `${name} ${reply.status} ${/etcd/.test(await reply.text())}`
      })
      return (await Promise.all(ready)).sort()
    }
    const ready = await readiness()
    t.ok(ready.length >= 4 && ready.every((each) => / 200 /.test(each)), ready.join(', '))

    await setOutOfSpace(etcd.url, true)
    t.same(
      (await readiness()).map((each) => each.replace(/^\S+ /, '')),
      ready.map(() => '503 true'),
    )
    const fresh = await bob.connect({ device: 'new' })
    for (let i = 0; i < 10; i++) await alice.send(bob)
    await live.until('delivery goes on', () => live.seqs().length === 10)
    await fresh.until('also to who came meanwhile', () => fresh.seqs().length === 10)
    await fresh.close()
    const back = await bob.connect({ device: 'new' })

    await setOutOfSpace(etcd.url, false)
    await until('ready again', async () => (await readiness()).join() === ready.join(), 20_000)
    await alice.send(bob)
    for (const device of [live, back]) await device.until('after', () => device.seqs().includes(11))
    t.same(live.seqs(), upTo(11))
    const keys = createRegistryKeys(w.namespace)
    const listings = connectEtcd([etcd.url])
    t.teardown(() => listings.close())
    const listed = async (): Promise<number> => (await readAll(listings, keys.sessionsOf(bob.name))).all.size
    await until('two sessions are listed', async () => (await listed()) === 2)
  },
)
