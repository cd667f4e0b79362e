/** What need not reach every device, on two connect nodes: who is told, who is not, and that it comes back after a loss. */
import { startRedis } from '@tidings/infra'
import { dmId } from '@tidings/protocol'
import t from 'tap'
import { type TestClient, type TestUser, until, type World, world } from '../src/index.js'

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

t.test(
  'receipts: what a device has and what a person has read, by frame and over HTTP, to those whom it concerns',
  async (t) => {
    const w = await world(t, { count: { connect: 2 } })
    const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
    const sender = await alice.connect({ node: 1 })
    const phone = await bob.connect({ device: 'phone' })
    const tablet = await bob.connect({ device: 'tablet', node: 1 })
    const strangers = [await carol.connect(), await carol.connect({ device: 'other', node: 1 })]
    const { conversation } = await alice.send(bob)
    for (let i = 0; i < 4; i++) await alice.send(bob)
    for (const client of [phone, tablet]) await client.until('all five', () => client.seqs().length === 5)
    const from = { op: 'receipt', conversation, user: bob.name }

    phone.ack(conversation, 3)
    t.same(await sender.next('receipt'), { ...from, delivered: 3 })
    tablet.ack(conversation, 3)
    tablet.send({ op: 'read', conversation, seq: 2 })
    t.same(await sender.next('receipt'), { ...from, read: 2 }, 'what the other device had was no news')
    for (const client of [phone, tablet]) t.same(await client.next('receipt'), { ...from, read: 2 }, 'own devices, too')

    const post = async (path: string, body: object): Promise<void> => {
      const reply = await w.http('POST', `conversations/${conversation}/${path}`, { token: bob.token, body })
      t.equal(reply.status, 204)
    }
    await post('ack', { seq: 5, device: 'elsewhere' })
    t.same(await sender.next('receipt'), { ...from, delivered: 5 })
    await post('read', { seq: 5 })
    t.same(await sender.next('receipt'), { ...from, read: 5 })
    for (const client of [phone, tablet]) t.same(await client.next('receipt'), { ...from, read: 5 })
    for (const stranger of strangers) {
      await settled(stranger)
      t.equal(told(stranger, 'receipt').length, 0)
    }
  },
)

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

interface Person {
  online: boolean
  devices: number
  lastSeen: number | null
}

async function ask(w: World, who: TestUser, ...about: TestUser[]): Promise<Record<string, Person>> {
  const users = about.map(({ name }) => name).join()
  const reply = await w.http<Record<string, Person>>('GET', `presence?users=${users}`, { token: who.token })
  if (reply.status !== 200) throw new Error(`asking: ${reply.status} ${reply.text}`)
  return reply.body
}

t.test(
  'presence: for people who share a conversation, on whatever node; moving and flapping change nothing',
  async (t) => {
    const w = await world(t, { count: { connect: 2 } })
    const [alice, bob, carol, eve] = [await w.user(), await w.user(), await w.user(), await w.user()]
    await alice.send(bob)
    await carol.send(bob)
    t.same(await ask(w, alice, bob, carol, eve, alice), {
      [bob.name]: { online: false, devices: 0, lastSeen: null },
      [alice.name]: { online: false, devices: 0, lastSeen: null },
    })
    const watcher = await alice.connect()
    const stranger = await eve.connect({ node: 1 })
    const users = [bob.name, carol.name, 'nobody']
    for (const client of [watcher, stranger]) client.send({ op: 'watch', users })
    t.same(await watcher.next('presence'), { op: 'presence', user: bob.name, online: false })
    watcher.send({ op: 'watch', users: ['no/name'] })
    t.match(await watcher.next('error'), { ref: 'watch', code: 'bad_frame' })

    const laptop = await bob.connect({ device: 'laptop', node: 1 })
    t.same(await watcher.next('presence'), { op: 'presence', user: bob.name, online: true })
    // To the other node and back, and to and fro in between: he is here all the while.
    const phone = await bob.connect({ device: 'phone' })
    await laptop.close()
    for (let i = 0; i < 5; i++) await (await bob.connect({ device: 'laptop', node: 1 })).close()
    const again = await bob.connect({ device: 'laptop', node: 1 })
    await until('two devices', async () => (await ask(w, alice, bob))[bob.name]!.devices === 2)
    await phone.close()
    const tablet = await bob.connect({ device: 'tablet' })
    // Carol comes after all that, on the same nodes, and stays for as long as it takes to be told of.
    await carol.send(alice)
    watcher.send({ op: 'watch', users })
    for (const user of [bob, carol]) {
      t.match(await watcher.next('presence'), { user: user.name, online: user === bob })
    }
    for (const node of [0, 1]) await carol.connect({ device: `d${node}`, node })
    t.same(await watcher.next('presence'), { op: 'presence', user: carol.name, online: true })
    t.equal(told(watcher, 'presence').length, 5, 'nothing but that')

    const before = Date.now()
    await tablet.close()
    await again.close()
    t.same(await watcher.next('presence'), { op: 'presence', user: bob.name, online: false })
    await until('when he was here last', async () => ((await ask(w, carol, bob))[bob.name]!.lastSeen ?? 0) >= before)
    watcher.send({ op: 'watch', users: [] })
    await settled(stranger)
    t.equal(told(stranger, 'presence').length, 0)
    t.same(await ask(w, eve, alice, bob, carol), {})
  },
)

t.test('a node that goes with its sessions: the watchers on the others are told', async (t) => {
  const w = await world(t, { count: { connect: 2 } })
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  await bob.send(alice)
  await carol.send(alice)
  const watcher = await alice.connect()
  await bob.connect({ node: 1 })
  await carol.connect({ node: 1 })
  watcher.send({ op: 'watch', users: [bob.name, carol.name] })
  for (const { name } of [bob, carol]) t.match(await watcher.next('presence'), { user: name, online: true })
  await w.stop('connect', 1)
  await carol.connect()
  t.match(await watcher.next('presence'), { user: bob.name, online: false })
  t.match(await ask(w, alice, bob, carol), {
    [bob.name]: { online: false },
    [carol.name]: { online: true, devices: 1 },
  })
  t.equal(told(watcher, 'presence').length, 3, 'she had come back before anybody asked')
})

t.test('Redis away: who left meanwhile is told when it is back', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const w = await world(t, { count: { connect: 2 }, stores: { redisUrl: redis.url } })
  const [alice, bob] = [await w.user(), await w.user()]
  await bob.send(alice)
  const [watcher, leaver] = [await alice.connect(), await bob.connect({ node: 1 })]
  watcher.send({ op: 'watch', users: [bob.name] })
  t.match(await watcher.next('presence'), { user: bob.name, online: true })
  const droppedAt = async (node: string): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${w.ops.get(node)}/metrics`)).text()
    return Number(/^tidings_ephemeral_dropped_total\{.*\} (\d+)$/m.exec(text)?.[1] ?? 0)
  }
  const before = await droppedAt('connect-2')
  await redis.kill()
  await leaver.close()
  await until('what should have been told is lost', async () => (await droppedAt('connect-2')) > before)
  t.equal(told(watcher, 'presence').length, 1)
  await redis.restart()
  t.match(await watcher.next('presence'), { user: bob.name, online: false })
  t.equal(watcher.closeCode, undefined)
})
