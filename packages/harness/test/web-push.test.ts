/** Web Push from outside: subscriptions are one's own, and what is acknowledged in time is not pushed. */
import { randomBytes } from 'node:crypto'
import { createBrowser, vapidKeys } from '@tidings/task/test/browser'
import t from 'tap'
import { type Reply, type TestUser, until, type World, world } from '../src/index.js'

const vapid = vapidKeys()
const ENV = {
  TIDINGS_TASK_GROUPS: 'push,persist,notify',
  TIDINGS_VAPID_PUBLIC_KEY: vapid.publicKey,
  TIDINGS_VAPID_PRIVATE_KEY: vapid.privateKey,
  TIDINGS_WEB_PUSH_AFTER_S: '3600',
}

const keys = () => {
  const { p256dh, auth } = createBrowser()
  return { p256dh, auth }
}
const body = (device: string, over: Record<string, unknown> = {}) => ({
  device,
  endpoint: `https://push.example.com/send/${randomBytes(8).toString('hex')}`,
  expirationTime: null,
  keys: keys(),
  ...over,
})

async function subscribe(w: World, user: TestUser, given: object): Promise<Reply> {
  const put = () => w.http('POST', 'me/push-subscriptions', { token: user.token, body: given })
  let reply = await put()
  // Logic learns a moment later than the worker that it serves the group.
  await until('a worker is known to serve it', async () => {
    if (reply.status === 503 && /No worker/.test(reply.text)) reply = await put()
    return !/No worker/.test(reply.text)
  })
  return reply
}

interface Due {
  user: string
  device: string
  conversation: string
  seq: string
  preview: string
}
const due = (w: World): Promise<Due[]> =>
  w.store.use((db) =>
    db.select<Due>('SELECT user, device, conversation, seq, preview FROM push_due ORDER BY user, device'),
  )

t.test('a subscription is one’s own: made, listed and ended, and nobody else sees or ends it', async (t) => {
  const w = await world(t, { env: ENV, count: { connect: 0 } })
  const [alice, bob] = [await w.user(), await w.user()]
  t.same((await w.http('GET', 'push/vapid-key', { token: alice.token })).body, { publicKey: vapid.publicKey })
  const given = body('phone')
  const made = await subscribe(w, alice, given)
  t.match(made, { status: 201, body: { device: 'phone', host: 'push.example.com' } })
  t.notOk(made.text.includes(given.keys.auth))
  const listed = async (user: TestUser) =>
    (await w.http<{ subscriptions: { device: string }[] }>('GET', 'me/push-subscriptions', { token: user.token })).body
      .subscriptions
  t.same(
    (await listed(alice)).map(({ device }) => device),
    ['phone'],
  )
  t.same(await listed(bob), [])
  t.match(await w.http('DELETE', 'me/push-subscriptions/phone', { token: bob.token }), {
    status: 404,
    body: { code: 'not_found' },
  })
  t.equal((await listed(alice)).length, 1)

  // The same browser, where somebody else has signed in.
  t.equal((await subscribe(w, bob, { ...body('laptop'), endpoint: given.endpoint })).status, 201)
  t.same(await listed(alice), [], 'she is not reached there any more')
  t.equal((await listed(bob)).length, 1)
  t.equal((await subscribe(w, bob, body('laptop'))).status, 201)
  t.equal((await listed(bob)).length, 1, 'a device has one')
  t.equal((await w.http('DELETE', 'me/push-subscriptions/laptop', { token: bob.token })).status, 204)

  for (const wrong of [
    ...[
      'http://push.example.com/x',
      'https://127.0.0.1/x',
      'https://[::1]/',
      'https://2130706433/',
      'https://localhost/',
    ].map((endpoint) => ({ endpoint })),
    { keys: { p256dh: 'short', auth: 'short' } },
    { keys: { ...keys(), p256dh: `B${'A'.repeat(86)}` } },
    { device: 'no such name!' },
    { keys: undefined },
  ])
    t.match(
      await subscribe(w, alice, { ...body('phone'), ...wrong }),
      { status: 400, body: { code: 'invalid_request' } },
      JSON.stringify(wrong),
    )
  for (let i = 0; i < 20; i++) t.equal((await subscribe(w, alice, body(`d${i}`))).status, 201)
  t.match(await subscribe(w, alice, body('one-more')), { status: 409, body: { code: 'limit_reached' } })
  t.equal((await subscribe(w, alice, body('d7'))).status, 201, 'one of the twenty may be made anew')
  t.equal((await w.http('GET', 'me/push-subscriptions')).status, 401)
})

t.test('calls at once for a device, or for a browser, are all taken, and one of them counts', async (t) => {
  const w = await world(t, { env: ENV, count: { connect: 0 } })
  const [alice, bob] = [await w.user('alice'), await w.user('bob')]
  const first = body('phone')
  t.equal((await subscribe(w, alice, first)).status, 201)
  for (let round = 0; round < 5; round++) {
    const { endpoint } = body('phone')
    const replies = await Promise.all([
      ...Array.from({ length: 4 }, () => subscribe(w, alice, { ...first, endpoint })),
      subscribe(w, alice, body('phone')),
      ...Array.from({ length: 3 }, () => subscribe(w, bob, { ...first, endpoint })),
    ])
    t.same(
      replies.map(({ status }) => status),
      Array(8).fill(201),
    )
  }
  const rows = await w.store.use((db) => db.select<{ user: string }>('SELECT user FROM push_subscriptions'))
  t.ok(rows.length <= 2 && new Set(rows.map(({ user }) => user)).size === rows.length, 'one of each')
})

t.test(
  'a message is due to the devices of those who get it, once for a conversation, and never to its sender',
  async (t) => {
    const w = await world(t, { env: ENV, count: { connect: 0 } })
    const [alice, bob, carol] = [await w.user('alice'), await w.user('bob'), await w.user('carol')]
    for (const user of [alice, bob]) await subscribe(w, user, body('phone'))
    await subscribe(w, bob, body('laptop'))
    const conversation = 'dm:alice:bob'
    let seq = 0
    // Workers learn of subscriptions within seconds.
    await until('it is due', async () => {
      seq = (await alice.send(bob)).seq
      return (await due(w)).length === 2
    })
    await until('up to the last one', async () => (await due(w)).every((row) => Number(row.seq) === seq))
    t.same(
      (await due(w)).map(({ user, device, preview }) => [user, device, preview]),
      [
        ['bob', 'laptop', ''],
        ['bob', 'phone', ''],
      ],
      'nothing of what was written',
    )
    const room = await w.http<{ id: string }>('POST', 'rooms', {
      token: carol.token,
      body: { name: 'Team', members: ['alice', 'bob'] },
    })
    const inRoom = await w.http('POST', 'messages', {
      token: carol.token,
      body: { to: { room: room.body.id }, content: { text: 'hi' } },
    })
    t.equal(inRoom.status, 202)
    await until('three devices of the room', async () => (await due(w)).length === 5)
    t.ok((await due(w)).every((row) => row.conversation === conversation || Number(row.seq) === inRoom.body.seq))
  },
)

t.test('what the device acknowledged in time is not pushed', async (t) => {
  const env = { ...ENV, TIDINGS_WEB_PUSH_AFTER_S: '1', TIDINGS_WEB_PUSH_CONTENT: 'on' }
  const w = await world(t, { env })
  const [alice, bob] = [await w.user('alice'), await w.user('bob')]
  // A service that cannot be reached: what is tried there stays due.
  await subscribe(w, bob, { ...body('phone'), endpoint: 'https://push.invalid/send' })
  await subscribe(w, bob, { ...body('laptop'), endpoint: 'https://push.invalid/send/2' })
  const phone = await bob.connect({ device: 'phone' })
  await until('both are known', async () => {
    const { conversation, seq } = await alice.send(bob)
    phone.ack(conversation, seq)
    return (await due(w)).length === 2
  })
  const last = await alice.send(bob)
  await phone.until('the last one', () => phone.seqs(last.conversation).includes(last.seq))
  phone.ack(last.conversation, last.seq)
  await until('the laptop’s was tried, the phone’s is done with', async () => {
    const rows = await w.store.use((db) =>
      db.select<{ device: string; tries: number; preview: string }>('SELECT device, tries, preview FROM push_due'),
    )
    return rows.length === 1 && rows[0]!.device === 'laptop' && rows[0]!.tries > 0 && rows[0]!.preview === 'hello'
  })
})

t.test('what its sender has recalled by then is not pushed', async (t) => {
  const w = await world(t, { env: ENV, count: { connect: 0 } })
  const [alice, bob] = [await w.user('alice'), await w.user('bob')]
  await subscribe(w, bob, { ...body('phone'), endpoint: 'https://push.invalid/send' })
  let last = 0
  await until('the phone is known', async () => {
    last = (await alice.send(bob)).seq
    return (await due(w)).length === 1
  })
  const isDue = async (seq: number) => (await due(w)).some((row) => Number(row.seq) === seq)
  await until('up to the last one', () => isDue(last))
  const now = () => w.store.use((db) => db.run('UPDATE push_due SET due_at = ?', [new Date()]))
  const tried = async () => {
    const rows = await w.store.use((db) => db.select<{ tries: number }>('SELECT tries FROM push_due'))
    return rows.map(({ tries }) => tries > 0)
  }
  // A service that cannot be reached: what is tried there stays due.
  await now()
  await until('it was tried', async () => (await tried())[0] === true)
  await w.store.use((db) => db.run('DELETE FROM push_due'))

  const { id, seq } = await alice.send(bob)
  await until('it is due', () => isDue(seq))
  t.equal((await w.http('DELETE', `messages/${id}`, { token: alice.token })).status, 202)
  await now()
  await until('nothing is due', async () => (await due(w)).length === 0)
})

t.test('with an account go its subscriptions, and what was due to them', async (t) => {
  const w = await world(t, { env: ENV, count: { connect: 0 } })
  const [alice, bob] = [await w.user('alice'), await w.user('bob')]
  for (const user of [alice, bob]) await subscribe(w, user, body('phone'))
  let last = { alice: 0, bob: 0 }
  await until('both are due something', async () => {
    last = { bob: (await alice.send(bob)).seq, alice: (await bob.send(alice)).seq }
    return (await due(w)).length === 2
  })
  await until('nothing is on its way', async () =>
    (await due(w)).every(({ user, seq }) => Number(seq) === last[user as keyof typeof last]),
  )
  t.equal((await w.http('DELETE', 'me', { token: bob.token })).status, 204)
  const left = await w.store.use((db) => db.select<{ user: string }>('SELECT user FROM push_subscriptions'))
  t.same(left, [{ user: 'alice' }])
  t.same(
    (await due(w)).map(({ user }) => user),
    ['alice'],
  )
})

t.test('without keys there is no Web Push', async (t) => {
  const w = await world(t, { env: { TIDINGS_TASK_GROUPS: 'push,persist,notify' }, count: { connect: 0 } })
  const alice = await w.user()
  t.match(await w.http('GET', 'push/vapid-key', { token: alice.token }), { status: 404, body: { code: 'not_found' } })
  t.match(await subscribe(w, alice, body('phone')), { status: 503, body: { code: 'unavailable' } })
})
