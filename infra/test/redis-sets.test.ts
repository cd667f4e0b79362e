import { test } from 'tap'
import { lookAtRedis } from '../src/given-redis.js'
import { startRedisCluster, startRedisReplicated } from '../src/index.js'
import { withRedis } from '../src/redis.js'

test('a primary with a replica: the link stalls and resumes, a failover names the other', async (t) => {
  const set = await startRedisReplicated()
  t.teardown(() => set.stop())
  const [first, replica] = set.servers
  t.equal((await set.primary()).port, first!.port)
  t.match(await lookAtRedis(set.url), [{ level: 'ok', text: new RegExp(`:${first!.port}, version 7`) }])
  t.match(await lookAtRedis(set.url.replace('/main', '/other')), [
    { level: 'fail', text: /no sentinel names a primary/ },
  ])
  const valueAt = (url: string): Promise<string | null> => withRedis(url, (client) => client.get('key'))
  await set.stallReplication()
  const reached = await withRedis(first!.url, async (client) => {
    await client.set('key', 'value')
    return await client.wait(1, 200)
  })
  t.equal(reached, 0, 'nothing passes')
  t.equal(await valueAt(replica!.url), null)
  set.resumeReplication()
  await t.resolves(
    (async () => {
      while ((await valueAt(replica!.url)) !== 'value') await new Promise((resolve) => setTimeout(resolve, 20))
    })(),
    'what was on its way arrives',
  )
  await set.failover()
  t.equal((await set.primary()).port, replica!.port)
})

test('a primary dies behind a stalled link: what was on its way is not on the replica that takes over', async (t) => {
  const set = await startRedisReplicated()
  t.teardown(() => set.stop())
  const [first, replica] = set.servers
  await withRedis(first!.url, (client) => client.set('kept', 'value'))
  await set.stallReplication()
  await withRedis(first!.url, (client) => client.set('tail', 'value'))
  await first!.kill()
  set.loseReplication()
  await set.movedFrom(first!)
  t.same(await withRedis(replica!.url, (client) => client.mget('kept', 'tail')), ['value', null])
})

test('a cluster of three shards: a slot moves with its keys, a replica takes over', async (t) => {
  const cluster = await startRedisCluster({ replicas: true })
  t.teardown(() => cluster.stop())
  const ok = { level: 'ok' }
  t.match(await lookAtRedis(cluster.url), [ok, ok, ok])
  t.match(await lookAtRedis(cluster.shards[0]!.url), [{ level: 'fail', text: /redis\+cluster:/ }])
  const slot = await cluster.slotOf('{p}')
  const from = await cluster.shardOf('{p}')
  const to = (from + 1) % 3
  await withRedis(cluster.shards[from]!.url, async (client) => {
    for (let i = 0; i < 50; i++) await client.set(`{p}:${i}`, i)
  })
  let seen = 0
  await cluster.moveSlot(slot, to, async () => {
    seen = await withRedis(cluster.shards[to]!.url, async (client) =>
      Number(await client.cluster('COUNTKEYSINSLOT', slot)),
    )
  })
  t.ok(seen > 0 && seen < 50, 'midway some keys are here and some there')
  t.equal(await cluster.shardOf('{p}'), to)
  t.equal(await withRedis(cluster.shards[to]!.url, (client) => client.get('{p}:49')), '49')
  const copies = await withRedis(cluster.shards[to]!.url, async (client) => {
    await client.set('{p}:last', 'last')
    return await client.wait(1, 1_900)
  })
  t.equal(copies, 1, 'the replica has all of it')
  const ofReplica = await withRedis(cluster.replicas[to]!.url, async (client) => {
    await client.readonly()
    return await client.mget('{p}:49', '{p}:last')
  })
  t.same(ofReplica, ['49', 'last'], 'and knows that it is its primary’s')
  await cluster.shards[to]!.kill()
  t.match((await lookAtRedis(cluster.url)).map(({ level }) => level).sort(), ['ok', 'ok', 'warn'])
  await cluster.promoted(to)
  await cluster.whole()
  t.same(await withRedis(cluster.replicas[to]!.url, (client) => client.mget('{p}:49', '{p}:last')), ['49', 'last'])
})
