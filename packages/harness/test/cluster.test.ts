/** The whole product on a Redis Cluster of three shards, with the same code. */
import { startRedisCluster } from '@tidings/infra'
import t from 'tap'
import { until, world } from '../src/index.js'
import { unharmed } from './load.js'

t.test('on a cluster of three shards', async (t) => {
  const cluster = await startRedisCluster({ replicas: true })
  t.teardown(() => cluster.stop())
  const stores = { redisUrl: cluster.url }
  const partitions = { TIDINGS_PARTITIONS: '8' }

  await t.test(
    'the journey: send, receive on two devices, stored, history, catch-up after an ack and a restart',
    async (t) => {
      const w = await world(t, { stores, env: partitions })
      const alice = await w.user()
      const others = await Promise.all(Array.from({ length: 6 }, () => w.user()))
      const shards = await Promise.all(Array.from({ length: 8 }, (_, p) => cluster.shardOf(w.keys.messages(p))))
      t.equal(new Set(shards).size, 3, 'the partitions are spread')

      const bob = others[0]!
      const phone = await bob.connect({ device: 'phone' })
      const laptop = await bob.connect({ device: 'laptop' })
      const sender = await alice.connect()
      for (let i = 0; i < 5; i++) for (const other of others) await alice.send(other, { i })
      for (const device of [phone, laptop]) {
        await device.until('five', () => device.seqs().length === 5)
        t.same(device.seqs(), [1, 2, 3, 4, 5])
      }
      await sender.until("one's own, of all six", () => sender.seqs().length === 30)
      sender.send({ op: 'send', to: { user: bob.name }, content: {}, clientId: 'over-the-socket' })
      const { conversation } = await sender.next('sent')
      t.match(await sender.next('stored'), { conversation, upTo: 6 }, 'the second receipt')

      const twice = { to: { user: bob.name }, content: {}, clientId: 'twice' }
      const first = await w.http('POST', 'messages', { token: alice.token, body: twice })
      const second = await w.http('POST', 'messages', { token: alice.token, body: twice })
      t.match(second, { status: 202, body: { id: first.body.id, seq: 7, duplicate: true } })

      const list = await w.http<{ conversations: { unread: number; head: number }[] }>('GET', 'conversations', {
        token: alice.token,
      })
      t.equal(list.body.conversations.length, 6, 'conversations of all shards in one list')
      const history = await w.http<{ messages: { seq: number }[] }>('GET', `conversations/${conversation}/messages`, {
        token: bob.token,
      })
      t.same(
        history.body.messages.map(({ seq }) => seq),
        [1, 2, 3, 4, 5, 6, 7],
      )
      await until('all rows', async () => {
        const [row] = await w.store.use((db) => db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries', []))
        return Number(row!.n) === 32
      })

      await phone.until('seven', () => phone.seqs().length === 7)
      phone.ack(String(conversation), 4)
      await phone.close()
      await w.stop('connect')
      await w.start('connect')
      const back = await bob.connect({ device: 'phone', node: 1 })
      t.same(back.seqs(), [5, 6, 7], 'what was acknowledged does not come again')
      await alice.send(bob)
      await back.until('and live again', () => back.seqs().length === 4)

      const ticket = await w.http<{ ticket: string }>('POST', 'auth/ws-ticket', { token: bob.token })
      t.equal(ticket.status, 201)
      const out = await w.http('POST', 'auth/logout', { token: bob.token })
      t.equal(out.status, 204)
      t.equal(await back.closed(), 4410, 'revocations reach the nodes')
    },
  )

  const w = await world(t, {
    stores,
    count: { task: 2, connect: 2 },
    env: { ...partitions, TIDINGS_ACCEPT_REPLICAS: '1' },
  })

  await t.test('a slot moves under load: nothing lost, doubled or misordered', async (t) => {
    const { told } = await unharmed(t, w, async (bob, alice) => {
      const conversation = `dm:${[alice.name, bob.name].sort().join(':')}`
      const stream = w.keys.messages(w.keys.partitionOf(conversation))
      const to = ((await cluster.shardOf(stream)) + 1) % 3
      await cluster.moveSlot(await cluster.slotOf(stream), to)
      t.equal(await cluster.shardOf(stream), to)
    })
    t.same(
      [...told].filter((status) => status !== 503),
      [],
    )
  })

  await t.test(
    'a shard dies under load, its replica takes over, and the dead one comes back as a replica',
    async (t) => {
      const { told, longestPauseMs } = await unharmed(
        t,
        w,
        async (bob, alice) => {
          const conversation = `dm:${[alice.name, bob.name].sort().join(':')}`
          const shard = await cluster.shardOf(w.keys.messages(w.keys.partitionOf(conversation)))
          await cluster.shards[shard]!.kill()
          await cluster.promoted(shard)
          await cluster.shards[shard]!.restart()
          await cluster.whole()
        },
        { tailLost: true },
      )
      t.same([...told], [503], 'meanwhile: not now')
      t.comment(`accepted again after ${Math.round(longestPauseMs)} ms`)
      t.ok(longestPauseMs < 20_000)
    },
  )
})
