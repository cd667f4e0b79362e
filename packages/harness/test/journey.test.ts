import t from 'tap'
import { TestClient, until, world } from '../src/index.js'

t.test('POST a message, see it arrive; then in redis-cli, etcd and SQL', async (t) => {
  const w = await world(t)
  const alice = await w.user('alice')
  const bob = await w.user('bob')
  const phone = await bob.connect({ device: 'phone' })
  const own = await alice.connect()

  const body = '{"to":{"user":"bob"},"content":{"z":9007199254740993,"a":1e400, "text":"hé \\u00e9"},"clientId":"c-1"}'
  const sent = await w.http('POST', 'messages', { token: alice.token, body })
  t.equal(sent.status, 202)
  t.match(sent.body, { conversation: 'dm:alice:bob', seq: 1, duplicate: false, id: /^\d{15,19}$/, sentAt: Number })

  const message = await phone.nextMessage()
  t.match(message, {
    id: sent.body.id,
    conversation: 'dm:alice:bob',
    seq: 1,
    from: 'alice',
    type: 'text',
    clientId: 'c-1',
  })
  const content = '{"z":9007199254740993,"a":1e400, "text":"hé \\u00e9"}'
  t.ok(
    phone.raw.some((frame) => frame.includes(`"content":${content}`)),
    'the very text that was sent',
  )
  t.match(await own.nextMessage(), { seq: 1 }, "one's own message comes to one's own devices")

  const p = w.keys.partitionOf('dm:alice:bob')
  const [[, fields]] = (await w.redis.xrange(w.keys.messages(p), '-', '+')) as [[string, string[]]]
  t.equal(fields[fields.indexOf('content') + 1], content)
  await until('the row is there', async () => {
    const rows = await w.store.use((db) =>
      db.select<{ content: string }>('SELECT content FROM entries WHERE conversation = ?', ['dm:alice:bob']),
    )
    return rows[0]?.content === content
  })
  const again = await w.http('POST', 'messages', { token: alice.token, body })
  t.match(again.body, { id: sent.body.id, seq: 1, duplicate: true })

  const history = await w.http('GET', 'conversations/dm:alice:bob/messages', { token: bob.token })
  t.equal(history.status, 200)
  t.ok(history.text.includes(`"content":${content}`))
  t.match(history.body, { head: 1, complete: true, void: [] })
  const list = await w.http('GET', 'conversations', { token: bob.token })
  t.match(list.body, {
    conversations: [{ id: 'dm:alice:bob', kind: 'dm', head: 1, unread: 1, lastMessage: { seq: 1 } }],
  })
})

t.test('send over the WebSocket: sent, then stored, and the other one sees it', async (t) => {
  const w = await world(t)
  const alice = await w.user()
  const bob = await w.user()
  const a = await alice.connect()
  const b = await bob.connect()
  a.send({ op: 'send', to: { user: bob.name }, content: { text: 'hi' }, clientId: 'x1' })
  const sent = await a.next('sent')
  t.match(sent, { clientId: 'x1', seq: 1, duplicate: false, id: String })
  t.match(await b.nextMessage(), { seq: 1, content: { text: 'hi' }, clientId: 'x1' })
  t.match(await a.next('stored'), { conversation: sent.conversation, upTo: 1 })
})

t.test('the backlog comes first, then live entries, in order; what was acknowledged never comes again', async (t) => {
  const w = await world(t)
  const alice = await w.user()
  const bob = await w.user()
  for (let i = 0; i < 250; i++) await alice.send(bob)
  const first = await bob.connect({ device: 'phone' })
  await Promise.all(Array.from({ length: 50 }, () => alice.send(bob)))
  await first.until('300 messages', () => first.seqs().length === 300)
  t.same(
    first.seqs(),
    Array.from({ length: 300 }, (_, i) => i + 1),
  )
  const { conversation } = first.messages()[0]!
  first.ack(conversation, 120)
  await until(
    'the cursor moved',
    async () => (await w.redis.hget(w.keys.cursor(bob.name, 'phone'), conversation)) === '120',
  )
  await first.close()
  const second = await bob.connect({ device: 'phone' })
  t.same(
    second.seqs(),
    Array.from({ length: 180 }, (_, i) => i + 121),
  )
  const tablet = await bob.connect({ device: 'tablet' })
  t.equal(tablet.seqs()[0], 121, 'a new device starts after what any device has acknowledged')
})

t.test('two nodes: bob on node A and on node B both receive; the same device twice is replaced', async (t) => {
  const w = await world(t, { count: { connect: 2, api: 2, task: 2, logic: 2 } })
  const alice = await w.user()
  const bob = await w.user()
  const onA = await bob.connect({ device: 'phone', node: 0 })
  const onB = await bob.connect({ device: 'laptop', node: 1 })
  await alice.send(bob)
  t.match(await onA.nextMessage(), { seq: 1 })
  t.match(await onB.nextMessage(), { seq: 1 })
  const moved = await bob.connect({ device: 'phone', node: 1 })
  t.equal(await onA.closed(), 4409, 'the older session of the device is ended, on another node too')
  await alice.send(bob)
  await moved.until('seq 2', () => moved.seqs().includes(2))
  const here = await bob.connect({ device: 'phone', node: 1 })
  t.equal(await moved.closed(), 4409)
  t.equal(here.closeCode, undefined)
})

t.test('logout ends the tokens and the open sockets everywhere', async (t) => {
  const w = await world(t, { count: { api: 2 } })
  const alice = await w.user()
  const socket = await alice.connect()
  t.equal((await w.http('POST', 'auth/logout', { token: alice.token })).status, 204)
  t.equal(await socket.closed(), 4410)
  await until(
    'refused by the other api',
    async () => (await w.http('GET', 'me', { token: alice.token, api: 1 })).status === 401,
  )
  const late = await TestClient.open(w.connects[0]!.url, { token: alice.token })
  t.equal(await late.closed(), 4401)
})

t.test(
  'each group runs alone: push delivers while nobody persists, and persist takes up later what lies there',
  async (t) => {
    const w = await world(t, { count: { task: 0 } })
    await w.start('task', { TIDINGS_TASK_GROUPS: 'push' })
    const alice = await w.user()
    const bob = await w.user()
    const socket = await bob.connect()
    const sent = await Promise.all(Array.from({ length: 20 }, () => alice.send(bob)))
    await socket.until('all delivered', () => socket.seqs().length === 20)
    const { conversation } = sent[0]!
    const rows = async () => {
      const [row] = await w.store.use((db) =>
        db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries WHERE conversation = ?', [conversation]),
      )
      return Number(row!.n)
    }
    t.equal(await rows(), 0)
    const history = await w.http<{ messages: unknown[]; complete: boolean }>(
      'GET',
      `conversations/${conversation}/messages`,
      { token: bob.token },
    )
    t.match(history.body, { head: 20, complete: true })
    t.equal(history.body.messages.length, 20, 'history is whole before MySQL knows any of it')
    await w.start('task', { TIDINGS_TASK_GROUPS: 'persist' })
    await until('all stored', async () => (await rows()) === 20)
  },
)

t.test('a message by its id: stored, delivered, read; for those who may read it', async (t) => {
  const w = await world(t)
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const { id, conversation } = await alice.send(bob, { text: 'where are you?' })
  const look = (token: string, of = id) => w.http<Record<string, unknown>>('GET', `messages/${of}`, { token })
  t.match(await look(alice.token), {
    status: 200,
    body: { id, conversation, seq: 1, content: { text: 'where are you?' }, state: { accepted: true, read: [] } },
  })
  await until('it is stored', async () => (await look(alice.token)).text.includes('"stored":true'))
  const phone = await bob.connect({ device: 'phone' })
  phone.ack(conversation, 1)
  await until('it is delivered', async () =>
    (await look(alice.token)).text.includes(`"delivered":["${bob.name}"],"read":[]`),
  )
  phone.send({ op: 'read', conversation, seq: 1 })
  await until('it is read', async () => (await look(alice.token)).text.includes(`"read":["${bob.name}"]`))
  t.match((await look(bob.token)).body, { id, state: { delivered: [], read: [] } }, 'nobody else is told of others')
  for (const of of [id, '1', '0', 'x', `${id}9`, '9'.repeat(30)]) {
    t.match(await look(eve.token, of), { status: 404, body: { code: 'message_not_found' } }, of)
  }
  const room = await w.http<{ id: string }>('POST', 'rooms', {
    token: alice.token,
    body: { name: 'r', members: [eve.name] },
  })
  const body = { to: { room: room.body.id }, content: { text: 'all of you' } }
  const said = await w.http<{ id: string }>('POST', 'messages', { token: alice.token, body })
  t.equal((await look(eve.token, said.body.id)).status, 200)
  t.equal((await look(bob.token, said.body.id)).status, 404)
  await w.http('DELETE', `rooms/${room.body.id}/members/${eve.name}`, { token: alice.token })
  t.equal((await look(eve.token, said.body.id)).status, 404, 'who is out reads nothing')
})

t.test('a message that MySQL does not have yet is found by its id all the same', async (t) => {
  const w = await world(t, { count: { task: 0 } })
  const [alice, bob] = [await w.user(), await w.user()]
  const { id } = await alice.send(bob)
  t.match(await w.http('GET', `messages/${id}`, { token: bob.token }), {
    status: 200,
    body: { id, state: { stored: false } },
  })
})
