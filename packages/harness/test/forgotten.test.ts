/** Promise 2: a Redis that forgets never gives a seq twice, and what it forgot comes from MySQL or again from its sender. */
import { startRedis } from '@tidings/infra'
import { generationLedger } from '@tidings/store'
import { closeGeneration, GENERATION_SEQS } from '@tidings/stream'
import t, { type Test } from 'tap'
import { type TestClient, type TestUser, until, type World, world } from '../src/index.js'

const SECOND = 2 * GENERATION_SEQS

async function ownRedis(t: Test) {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  return redis
}

const stored = async (
  w: World,
  conversation: string,
): Promise<{ seq: number; type: string; from: number | null }[]> => {
  const rows = await w.store.use((db) =>
    db.select<{ seq: string; type: string; void_from: string | null }>(
      'SELECT seq, type, void_from FROM entries WHERE conversation = ? ORDER BY seq',
      [conversation],
    ),
  )
  return rows.map(({ seq, type, void_from: from }) => ({
    seq: Number(seq),
    type,
    from: from === null ? null : Number(from),
  }))
}

const sendFrame = (to: TestUser, clientId: string): object => ({
  op: 'send',
  to: { user: to.name },
  content: { text: clientId },
  clientId,
})

const voidsOf = (client: TestClient) => client.frames.filter((frame) => frame.op === 'void')

async function storedUpTo(client: TestClient, seq: number): Promise<void> {
  await client.until(`stored ${seq}`, () =>
    client.frames.some((frame) => frame.op === 'stored' && Number(frame.upTo) >= seq),
  )
}

t.test('a flush: history stays, devices go on, no seq comes twice, a repeated send is known', async (t) => {
  const redis = await ownRedis(t)
  const w = await world(t, { stores: { redisUrl: redis.url } })
  const alice = await w.user()
  const bob = await w.user()
  const live = await bob.connect({ device: 'live' })
  const phone = await bob.connect({ device: 'phone' })
  const sender = await alice.connect()
  for (let i = 1; i <= 5; i++) sender.send(sendFrame(bob, `c-${i}`))
  await storedUpTo(sender, 5)
  const { conversation } = sender.messages()[0]!
  phone.ack(conversation, 3)
  await until('the ack is in MySQL', async () => {
    const [row] = await w.store.use((db) =>
      db.select<{ seq: string }>('SELECT seq FROM cursors WHERE user = ? AND device = ?', [bob.name, 'phone']),
    )
    return Number(row?.seq) === 3
  })
  await phone.close()

  await w.redis.flushall()
  const again = await w.http('POST', 'messages', {
    token: alice.token,
    body: { to: { user: bob.name }, content: { text: 'c-5' }, clientId: 'c-5' },
  })
  t.match(again, { status: 202, body: { seq: 5, duplicate: true } }, 'the answer first given, out of MySQL')
  const next = await alice.send(bob, { text: 'after' })
  t.equal(next.seq, SECOND + 1)
  await live.until('the same socket', () => live.seqs().includes(SECOND + 1))
  t.same(live.seqs(), [1, 2, 3, 4, 5, SECOND + 1])
  t.match(voidsOf(live), [{ conversation, from: 6, to: SECOND }])
  const back = await bob.connect({ device: 'phone' })
  t.same(back.seqs(), [4, 5, SECOND + 1], 'from its cursor, which MySQL kept')
  const history = await w.http('GET', `conversations/${conversation}/messages?limit=200`, { token: bob.token })
  t.match(history.body, { void: [[6, SECOND]], head: SECOND + 1, complete: true })
  await until('all is stored', async () => (await stored(w, conversation)).length === 7)
  await until('every partition is opened, also those that nobody sends to', async () => {
    const rows = await w.store.use((db) => db.select<{ number: string }>('SELECT number FROM partition_generations'))
    return rows.every(({ number }) => Number(number) === 2)
  })
  // Clocks may differ by seconds, so who came in the same seconds counts as older.
  await w.store.use((db) => db.run('UPDATE partition_generations SET began_at = began_at - INTERVAL 1 MINUTE'))
  const carol = await w.user()
  t.equal((await carol.send(bob)).seq, 1, 'who came after the flush cannot have said anything before')
})

t.test('what was accepted and forgotten before MySQL had it: its sender is told, and sends it again', async (t) => {
  const redis = await ownRedis(t)
  const w = await world(t, { stores: { redisUrl: redis.url }, count: { task: 0 } })
  const alice = await w.user()
  const bob = await w.user()
  const sender = await alice.connect()
  sender.send(sendFrame(bob, 'c-1'))
  const { conversation } = await sender.next('sent')
  sender.send(sendFrame(bob, 'c-2'))
  await sender.until('both', () => sender.frames.filter((frame) => frame.op === 'sent').length === 2)
  await w.redis.flushall()
  await w.start('task')
  for (const seq of [1, 2]) {
    await sender.until(`told of ${seq}`, () =>
      sender.frames.some((f) => f.op === 'void' && f.conversation === conversation && f.from === seq && f.to === seq),
    )
  }
  t.notOk(
    sender.frames.some((frame) => frame.op === 'stored'),
    'never told that it was stored',
  )
  for (const clientId of ['c-1', 'c-2']) sender.send(sendFrame(bob, clientId))
  await storedUpTo(sender, SECOND + 2)
  const device = await bob.connect()
  t.same(
    device.messages().map(({ clientId }) => clientId),
    ['c-1', 'c-2'],
  )
})

t.test('killed and started again: what MySQL has and Redis forgot reaches the devices', async (t) => {
  const redis = await ownRedis(t)
  const w = await world(t, { stores: { redisUrl: redis.url } })
  const alice = await w.user()
  const bob = await w.user()
  const sender = await alice.connect()
  for (let i = 1; i <= 4; i++) sender.send(sendFrame(bob, `c-${i}`))
  await storedUpTo(sender, 4)
  const { conversation } = sender.messages()[0]!
  // A tail that Redis had not written down: two entries and their once-keys.
  await w.redis.set(w.keys.seq(conversation), 2)
  for (const seq of [3, 4]) {
    await w.redis.xdel(w.keys.log(conversation), `${seq}-0`)
    await w.redis.del(w.keys.once(conversation, alice.name, `c-${seq}`))
  }
  await redis.kill()
  await redis.restart()
  await until('the conversation leapt', async () => {
    try {
      return (await w.redis.get(w.keys.seq(conversation))) === String(SECOND)
    } catch {
      return false
    }
  })
  const device = await bob.connect()
  t.same(device.seqs(), [1, 2, 3, 4], 'although nobody sent anything since')
  t.match(voidsOf(device), [{ from: 5, to: SECOND }])
  sender.send(sendFrame(bob, 'c-4'))
  await sender.until('answered', () => sender.frames.some((f) => f.op === 'sent' && f.duplicate === true))
  await device.until('nothing new', () => device.seqs().length === 4)
  t.same(await stored(w, conversation), [
    ...[1, 2, 3, 4].map((seq) => ({ seq, type: 'text', from: null })),
    { seq: SECOND, type: 'void', from: 5 },
  ])
})

t.test('stopped in order, it goes on with the next seq', async (t) => {
  const redis = await ownRedis(t)
  const w = await world(t, { stores: { redisUrl: redis.url } })
  const alice = await w.user()
  const bob = await w.user()
  await alice.send(bob)
  for (const app of ['api', 'connect', 'task', 'logic'] as const) await w.stop(app)
  for (let p = 0; p < w.keys.partitions; p++) {
    await closeGeneration(w.redis, w.keys, p, generationLedger(w.store, p), 'the-stop')
  }
  await redis.kill()
  await redis.restart()
  for (const app of ['logic', 'task', 'connect', 'api'] as const) await w.start(app)
  const second = await w.http('POST', 'messages', {
    token: alice.token,
    api: 1,
    body: { to: { user: bob.name }, content: {} },
  })
  t.match(second, { status: 202, body: { seq: 2 } })
})

t.test('streams deleted by hand: groups come back at the beginning, and sending goes on', async (t) => {
  const redis = await ownRedis(t)
  const w = await world(t, { stores: { redisUrl: redis.url } })
  const alice = await w.user()
  const bob = await w.user()
  const live = await bob.connect()
  const { conversation } = await alice.send(bob)
  await until('stored', async () => (await stored(w, conversation)).length === 1)
  await w.redis.del(w.keys.messages(w.keys.partitionOf(conversation)))
  for (let i = 0; i < 20; i++) await alice.send(bob)
  await live.until('all', () => live.seqs().length === 21)
  await until('all stored', async () => (await stored(w, conversation)).length === 21)
})
