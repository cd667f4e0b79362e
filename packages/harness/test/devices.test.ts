/** Devices that their owner removes, and how many sessions a user may have over all nodes. */
import t from 'tap'
import { TestClient, type TestUser, until, type World, world } from '../src/index.js'

interface Devices {
  devices: { device: string; createdAt: number; lastSeen: number | null; online: boolean; conversations: number }[]
  nextCursor: string | null
}

const devicesOf = async (w: World, user: TestUser, query = '') =>
  (await w.http<Devices>('GET', `me/devices${query}`, { token: user.token })).body

t.test('a device is listed with what it has acknowledged, removed with it, and comes back as a new one', async (t) => {
  const w = await world(t, { count: { connect: 2 } })
  const [alice, bob] = [await w.user(), await w.user()]
  const laptop = await bob.connect({ device: 'laptop', node: 0 })
  const phone = await bob.connect({ device: 'phone', node: 1 })
  const first = await alice.send(bob, { text: 'one' })
  const { conversation } = await alice.send(bob, { text: 'two' })
  for (const socket of [laptop, phone]) await socket.until('both', () => socket.messages().length === 2)
  laptop.ack(conversation, first.seq)
  phone.ack(conversation, 2)
  await until('what they acknowledged is written down', async () =>
    (await devicesOf(w, bob)).devices.every(({ lastSeen }) => lastSeen !== null),
  )
  t.match(await devicesOf(w, bob), {
    devices: [
      { device: 'laptop', createdAt: Number, online: true, conversations: 1 },
      { device: 'phone', createdAt: Number, online: true, conversations: 1 },
    ],
    nextCursor: null,
  })
  const page = await devicesOf(w, bob, '?limit=1')
  t.match(page, { devices: [{ device: 'laptop' }], nextCursor: 'laptop' })
  t.match(await devicesOf(w, bob, '?limit=1&cursor=laptop'), { devices: [{ device: 'phone' }], nextCursor: null })
  t.same(await devicesOf(w, alice), { devices: [], nextCursor: null })

  const remove = (device: string, user = bob) => w.http('DELETE', `me/devices/${device}`, { token: user.token })
  t.match(await remove('phone', alice), { status: 404, body: { code: 'device_not_found' } }, 'not of another user')
  // The sign-in of the world is that of both devices: what stays is a token made elsewhere.
  const outside = w.token(bob.name)
  t.equal((await remove('phone')).status, 204)
  t.equal(await phone.closed(), 4410)
  await until(
    'the sign-in behind it ends',
    async () => (await w.http('GET', 'me', { token: bob.token })).status === 401,
  )
  t.equal(await laptop.closed(), 4410, 'and whatever else is live of that')
  t.equal(await w.redis.hexists(w.keys.devices(bob.name), 'phone'), 0)
  t.equal(await w.redis.exists(w.keys.cursor(bob.name, 'phone')), 0)
  const again = { ...bob, token: outside }
  t.match((await devicesOf(w, again)).devices, [{ device: 'laptop', online: false }])

  // The laptop had the first: there it begins, and not where the phone was.
  const back = await TestClient.open(`${w.connects[0]!.url}?device=phone`, { token: outside })
  await back.synced()
  t.same(back.seqs(conversation), [2])
  t.equal((await remove('laptop', again)).status, 204)
  t.match(await remove('laptop', again), { status: 404 }, 'gone')
})

t.test('what MySQL was told late of a removed device does not come back with it', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const token = w.token(bob.name)
  const { conversation } = await alice.send(bob, { text: 'one' })
  const open = async () => {
    const socket = await TestClient.open(`${w.connects[0]!.url}?device=tv`, { token })
    t.teardown(() => socket.ws.terminate())
    return await socket.synced()
  }
  const tv = await open()
  t.same(tv.seqs(conversation), [1])
  tv.ack(conversation, 1)
  const cursor = w.keys.cursor(bob.name, 'tv')
  await until('acknowledged', async () => (await w.redis.hget(cursor, conversation)) === '1')
  t.equal((await w.http('DELETE', 'me/devices/tv', { token })).status, 204)
  // As another logic process would, that had the ack in hand.
  await w.redis.hset(cursor, conversation, 1)
  t.same((await open()).seqs(conversation), [1], 'a new device begins at the beginning')
})

t.test('a user may have so many devices, and one more is refused until one is removed', async (t) => {
  const w = await world(t, { env: { TIDINGS_DEVICES_PER_USER: '2' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const { conversation } = await alice.send(bob)
  for (const device of ['one', 'two']) await (await bob.connect({ device })).close()
  const open = (device: string) => TestClient.open(`${w.connects[0]!.url}?device=${device}`, { token: bob.token })
  const three = await open('three')
  t.equal(await three.closed(), 4429)
  t.match(three.frames, [{ op: 'error', code: 'limit_reached' }])
  const refused = { status: 409, body: { code: 'limit_reached' } }
  t.match(await w.http('GET', 'offline?device=three', { token: bob.token }), refused)
  const ack = { seq: 1, device: 'three' }
  t.match(await w.http('POST', `conversations/${conversation}/ack`, { token: bob.token, body: ack }), refused)
  const poll = `${w.connects[0]!.url.replace('ws:', 'http:').replace('/ws', '/longpoll')}?device=three&timeout=5`
  const polled = await fetch(poll, { headers: { authorization: `Bearer ${bob.token}` } })
  t.match([polled.status, polled.headers.get('retry-after')], [429, '5'])
  t.same((await devicesOf(w, bob)).devices.map(({ device }) => device).sort(), ['one', 'two'])
  // One of before comes back.
  await bob.connect({ device: 'two' })
  const token = w.token(bob.name)
  t.equal((await w.http('DELETE', 'me/devices/one', { token })).status, 204)
  t.equal((await w.http('GET', 'offline?device=three', { token })).status, 200)
  t.equal((await w.http('GET', 'offline?device=default', { token: alice.token })).status, 200, 'others are others')
})

t.test('a user may have so many sessions on all nodes together, and one more is refused', async (t) => {
  const w = await world(t, { count: { connect: 2 }, env: { TIDINGS_SESSIONS_PER_USER: '2' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const one = await alice.connect({ device: 'one', node: 0 })
  const two = await alice.connect({ device: 'two', node: 1 })
  const open = (device: string, node: number) =>
    TestClient.open(`${w.connects[node]!.url}?device=${device}`, { token: alice.token })
  for (const node of [0, 1]) {
    const three = await open('three', node)
    t.equal(await three.closed(), 4429)
    t.match(three.frames, [{ op: 'error', code: 'rate_limited' }])
  }
  const poll = `${w.connects[0]!.url.replace('ws:', 'http:').replace('/ws', '/longpoll')}?device=four&timeout=5`
  const polled = await fetch(poll, { headers: { authorization: `Bearer ${alice.token}` } })
  t.match(await polled.json(), { status: 429, code: 'rate_limited' })
  t.equal(polled.headers.get('retry-after'), '5')
  await bob.connect({ device: 'one' })
  const again = await alice.connect({ device: 'one', node: 1 })
  t.equal(await one.closed(), 4409, 'a device that comes back is not one more')
  await two.close()
  await until('there is room for another', async () => {
    const three = await open('three', 0)
    const end = await Promise.race([three.closed(), three.synced().then(() => 0)])
    return end === 0
  })
  t.equal(again.closeCode, undefined)
})

t.test('of many that open at once on two nodes, exactly so many stay', async (t) => {
  const w = await world(t, { count: { connect: 2 }, env: { TIDINGS_SESSIONS_PER_USER: '3' } })
  const alice = await w.user()
  const clients = await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      TestClient.open(`${w.connects[i % 2]!.url}?device=d${i}`, { token: alice.token }),
    ),
  )
  for (const { ws } of clients) t.teardown(() => ws.terminate())
  const ends = await Promise.all(clients.map((one) => Promise.race([one.closed(), one.synced().then(() => 0)])))
  t.equal(ends.filter((end) => end === 0).length, 3)
  t.equal(ends.filter((end) => end === 4429).length, 9)
})

t.test('where the policy is so, the oldest session makes room, on whichever node it is', async (t) => {
  const w = await world(t, {
    count: { connect: 2 },
    env: { TIDINGS_SESSIONS_PER_USER: '2', TIDINGS_SESSIONS_POLICY: 'replace_oldest' },
  })
  const alice = await w.user()
  const one = await alice.connect({ device: 'one', node: 0 })
  const two = await alice.connect({ device: 'two', node: 1 })
  const three = await alice.connect({ device: 'three', node: 1 })
  t.equal(await one.closed(), 4409)
  const four = await alice.connect({ device: 'four', node: 1 })
  t.equal(await two.closed(), 4409)
  t.same([three.closeCode, four.closeCode], [undefined, undefined])
})
