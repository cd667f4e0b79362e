/** What need not reach every device, on two connect nodes: who is told, who is not, and that it comes back after a loss. */
import { startRedis } from '@tidings/infra'
import { dmId } from '@tidings/protocol'
import t from 'tap'
import { type TestClient, type TestUser, until, world } from '../src/index.js'

const dm = (a: TestUser, b: TestUser): string => dmId(a.name, b.name)
const told = (client: TestClient, op: string) => client.frames.filter((frame) => frame.op === op)
/** Everything that was on its way to the client has come. */
async function settled(client: TestClient): Promise<void> {
  client.send({ op: 'ping' })
  await client.next('pong')
}

t.test('typing reaches the other person on whatever node, and nobody else', async (t) => {
  const w = await world(t, { count: { connect: 2 } })
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const phone = await alice.connect({ device: 'phone' })
  const tablet = await alice.connect({ device: 'tablet', node: 1 })
  const here = await bob.connect({ device: 'here' })
  const there = await bob.connect({ device: 'there', node: 1 })
  const stranger = await carol.connect({ node: 1 })
  const conversation = dm(alice, bob)

  phone.send({ op: 'typing', conversation })
  for (const client of [here, there])
    t.same(await client.next('typing'), { op: 'typing', conversation, user: alice.name })
  stranger.send({ op: 'typing', conversation })
  t.match(await stranger.next('error'), { ref: 'typing', code: 'conversation_not_found' })
  for (const wrong of [`room:${'a'.repeat(16)}`, `feed:${carol.name}`, 'feed:*', 'nonsense']) {
    stranger.send({ op: 'typing', conversation: wrong })
    t.match(await stranger.next('error'), { ref: 'typing', code: 'conversation_not_found' }, wrong)
  }
  // At once again: too often, and passed over. What the other says comes behind it on the same way.
  phone.send({ op: 'typing', conversation })
  await settled(phone)
  here.send({ op: 'typing', conversation })
  for (const client of [phone, tablet])
    t.same(await client.next('typing'), { op: 'typing', conversation, user: bob.name })
  for (const client of [here, there]) {
    await settled(client)
    t.equal(told(client, 'typing').length, 1, 'once, and nothing of their own')
  }
  await settled(stranger)
  t.equal(told(stranger, 'typing').length, 0)
})

t.test('Redis away: typing is lost without a word; it works again when Redis is back', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const w = await world(t, { count: { connect: 2 }, stores: { redisUrl: redis.url } })
  const [alice, bob] = [await w.user(), await w.user()]
  const [sender, reader] = [await alice.connect(), await bob.connect({ node: 1 })]
  const conversation = dm(alice, bob)
  await redis.kill()
  sender.send({ op: 'typing', conversation })
  await settled(sender)
  t.equal(told(sender, 'error').length, 0)
  await redis.restart()
  await until('typing is told again', () => {
    sender.send({ op: 'typing', conversation })
    return told(reader, 'typing').length > 0
  })
  t.equal(reader.closeCode, undefined, 'the same socket all the while')
})
