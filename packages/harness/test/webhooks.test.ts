/** Webhooks from outside: made over HTTP, told of what happens, signed; and who may do so. */
import { createHmac } from 'node:crypto'
import t from 'tap'
import { type Reply, until, world } from '../src/index.js'
import { ADMIN, ENV, hook, hooks, type Received, receiver, SENDER } from './receiver.js'

t.test('a webhook is told of messages and of rooms, signed, as everywhere else they are shown', async (t) => {
  const [w, r] = [await world(t, { env: ENV }), await receiver(t)]
  const { secret } = await hook(w, { url: `${r.url}/all`, events: ['message', 'room'] })
  const [alice, bob] = [await w.user(), await w.user()]
  const { id, conversation, seq, sentAt } = await alice.send(bob, { text: 'hello', big: 1 }, { clientId: 'c-1' })
  const of = (one: Received): boolean => one.event.id === `evt_${id}`
  await until('it came', () => r.received.some(of))
  const { headers, text, event } = r.received.find(of)!
  t.same(event, {
    id: `evt_${id}`,
    event: 'message',
    at: sentAt,
    data: {
      ...{ id, conversation, seq, from: alice.name, type: 'text', content: { text: 'hello', big: 1 } },
      ...{ clientId: 'c-1', sentAt },
    },
  })
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`
  t.equal(headers['webhook-signature'], `v1,${createHmac('sha256', key).update(signed).digest('base64')}`)
  t.equal(headers['webhook-id'], event.id)
  t.ok(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1_000) < 60)
  t.equal(headers['content-type'], 'application/json')

  const room = await w.http<{ id: string }>('POST', 'rooms', {
    token: alice.token,
    body: { name: 'Team', members: [bob.name] },
  })
  await until('the room came', () =>
    r.received.some(({ event: { event, data } }) => event === 'room' && data.conversation === `room:${room.body.id}`),
  )
  t.match(r.received.find(({ event }) => event.event === 'room')!.event.data, {
    type: 'system',
    content: { change: 'created' },
  })
  t.equal((await hooks(w))[0]!.due >= 0, true)
  t.notOk((await w.http('GET', 'webhooks', { token: ADMIN })).text.includes(secret), 'the secret is shown once')
})

t.test('a filter lets through what concerns its rooms or users, and nothing else', async (t) => {
  const [w, r] = [await world(t, { env: ENV }), await receiver(t)]
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const room = await w.http<{ id: string }>('POST', 'rooms', { token: alice.token, body: { name: 'Team' } })
  await hook(w, { url: `${r.url}/bob`, users: [bob.name] })
  await hook(w, { url: `${r.url}/room`, rooms: [room.body.id] })
  await hook(w, { url: `${r.url}/all` })
  const toBob = await alice.send(bob)
  const toCarol = await alice.send(carol)
  const inRoom = await w.http<{ id: string }>('POST', 'messages', {
    token: alice.token,
    body: { to: { room: room.body.id }, content: { text: 'hi' } },
  })
  const ids = [toBob.id, toCarol.id, inRoom.body.id].map((id) => `evt_${id}`)
  await until('all came where all is told', () => ids.every((id) => r.taken('/all').has(id)))
  await until('his came', () => r.taken('/bob').has(ids[0]!))
  await until('the room’s came', () => r.taken('/room').has(ids[2]!))
  t.same([...r.taken('/bob')], [ids[0]])
  t.same([...r.taken('/room')], [ids[2]])
})

t.test('receipts and presence come together, from whichever worker owns them', async (t) => {
  const [w, r] = [await world(t, { env: ENV, count: { task: 2 } }), await receiver(t)]
  await hook(w, { url: `${r.url}/soft`, events: ['receipt', 'presence'] })
  const [alice, bob] = [await w.user(), await w.user()]
  interface Soft {
    conversation?: string
    user: string
    delivered?: number
    online?: boolean
  }
  const told = (): Soft[] => r.received.flatMap(({ event }) => event.data as unknown as Soft[])
  const phone = await bob.connect({ device: 'phone' })
  let last = await alice.send(bob)
  // What is told before the workers listen is lost.
  await until('a receipt came', async () => {
    last = await alice.send(bob)
    phone.ack(last.conversation, last.seq)
    await phone.until('it was shown', () => phone.seqs().includes(last.seq))
    return told().some(({ user, delivered }) => user === bob.name && delivered !== undefined)
  })
  t.ok(r.received.every(({ event }) => Array.isArray(event.data) && event.data.length <= 100))
  await phone.close()
  await until('that bob went came', () => told().some(({ user, online }) => user === bob.name && online === false))
  const seen = r.received.map(({ event }) => event.id)
  t.equal(new Set(seen).size, seen.length)
})

t.test('only a service token with the scope admin makes, sees, changes or ends webhooks', async (t) => {
  const [w, r] = [await world(t, { env: ENV }), await receiver(t)]
  const alice = await w.user()
  const { id } = await hook(w, { url: `${r.url}/x` })
  const body = { url: `${r.url}/y`, events: ['message'] }
  for (const token of [alice.token, SENDER]) {
    const replies: Reply[] = [
      await w.http('POST', 'webhooks', { token, body }),
      await w.http('GET', 'webhooks', { token }),
      await w.http('PATCH', `webhooks/${id}`, { token, body: { enabled: false } }),
      await w.http('DELETE', `webhooks/${id}`, { token }),
      await w.http('GET', `webhooks/${id}/dead`, { token }),
      await w.http('POST', `webhooks/${id}/dead/retry`, { token, body: {} }),
    ]
    for (const reply of replies) t.match(reply, { status: 403, body: { code: 'forbidden' } })
  }
  t.equal((await w.http('GET', 'webhooks')).status, 401)
  t.equal((await hooks(w)).length, 1)
  for (const wrong of [
    { url: 'ftp://example.com' },
    { url: 'no url' },
    { url: 'https://user:pass@example.com/' },
    { events: [] },
    { events: ['everything'] },
    { rooms: ['too short'] },
    { secret: 'whsec_short' },
    { surplus: 1 },
  ])
    t.match(
      await w.http('POST', 'webhooks', { token: ADMIN, body: { ...body, ...wrong } }),
      { status: 400, body: { code: 'invalid_request' } },
      JSON.stringify(wrong),
    )
  t.match(await w.http('PATCH', 'webhooks/wh_none', { token: ADMIN, body: { enabled: false } }), { status: 404 })
  t.equal((await w.http('DELETE', `webhooks/${id}`, { token: ADMIN })).status, 204)
  t.match(await w.http('DELETE', `webhooks/${id}`, { token: ADMIN }), { status: 404, body: { code: 'not_found' } })
})

t.test('without leave, no endpoint is private, and none is made where no worker serves the group', async (t) => {
  const env = { ...ENV, TIDINGS_HOOKS_ALLOW_PRIVATE: 'off' }
  const w = await world(t, { env, count: { connect: 0 } })
  for (const url of [
    ...['http://example.com/', 'https://127.0.0.1/', 'https://169.254.169.254/latest', 'https://[::1]/'],
    ...['https://localhost/', 'https://2130706433/', 'https://0x7f.1/', 'https://printer.local/', 'https://intranet/'],
  ])
    t.match(
      await w.http('POST', 'webhooks', { token: ADMIN, body: { url, events: ['message'] } }),
      { status: 400, body: { code: 'invalid_request' } },
      url,
    )
  // A name of the public tree may stand for anything: it is refused when it is connected to.
  await hook(w, { url: 'https://localhost.example.com.:1/' })
  await w.stop('task')
  await until('it is known that nobody serves it', async () => {
    const { status } = await w.http('POST', 'webhooks', {
      token: ADMIN,
      body: { url: 'https://example.com/', events: ['message'] },
    })
    return status === 503
  })
})
