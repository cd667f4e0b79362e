/** Rooms as their users see them: two of each app, so that a change is made by one process and seen through another. */
import t from 'tap'
import { type TestClient, type TestUser, until, type World, world } from '../src/index.js'

interface Room {
  id: string
  conversation: string
  members: number
  role: string | null
  version: number
}

const TWO = { count: { api: 2, logic: 2, task: 2, connect: 2 } } as const

async function createRoom(w: World, owner: TestUser, members: readonly TestUser[], over: object = {}): Promise<Room> {
  const body = { name: 'a room', members: members.map(({ name }) => name), ...over }
  const reply = await w.http<Room>('POST', 'rooms', { token: owner.token, body })
  if (reply.status !== 201) throw new Error(`creating a room: ${reply.status} ${reply.text}`)
  return reply.body
}

async function say(w: World, from: TestUser, room: Room, text: string): Promise<number> {
  const body = { to: { room: room.id }, content: { text }, clientId: text }
  const reply = await w.http<{ seq: number }>('POST', 'messages', { token: from.token, body })
  if (reply.status !== 202) throw new Error(`sending: ${reply.status} ${reply.text}`)
  return reply.body.seq
}

const texts = (client: TestClient, room: Room): string[] =>
  client
    .messages(room.conversation)
    .flatMap(({ type, content }) => (type === 'text' ? [(content as { text: string }).text] : []))

t.test('an entry reaches every member on every node, in order, and nobody else', async (t) => {
  const w = await world(t, TWO)
  const [alice, bob, carol, eve] = [await w.user(), await w.user(), await w.user(), await w.user()]
  const bobs = await bob.connect({ node: 0 })
  const carols = await carol.connect({ node: 1 })
  const eves = await eve.connect({ node: 1 })
  const room = await createRoom(w, alice, [bob, carol])
  t.match(room, { members: 3, role: 'owner', conversation: `room:${room.id}` })
  for (let i = 0; i < 20; i++) await say(w, [alice, bob, carol][i % 3]!, room, `m${i}`)
  const wanted = Array.from({ length: 20 }, (_, i) => `m${i}`)
  for (const client of [bobs, carols]) {
    await client.until('all', () => texts(client, room).length === 20)
    t.same(texts(client, room), wanted)
    const seqs = client.seqs(room.conversation)
    t.same(
      seqs,
      seqs.map((_, i) => seqs[0]! + i),
      'without a hole',
    )
  }
  const late = await alice.connect({ node: 0 })
  t.same(texts(late, room), wanted, 'whoever comes later catches up')
  t.same(eves.messages(), [])
  for (const call of [`conversations/${room.conversation}/messages`, `rooms/${room.id}`, `rooms/${room.id}/members`]) {
    t.equal((await w.http('GET', call, { token: eve.token })).status, 404, call)
  }
  const probe = await w.http('POST', 'messages', { token: eve.token, body: { to: { room: room.id }, content: {} } })
  t.match(probe, { status: 404, body: { code: 'conversation_not_found' } })
  eves.send({ op: 'sync', conversation: room.conversation, after: 0 })
  t.match(await eves.next('error'), { code: 'conversation_not_found' })
  eves.send({ op: 'send', to: { room: room.id }, content: {}, clientId: 'e1' })
  t.match(await eves.next('error'), { code: 'conversation_not_found', clientId: 'e1' })
})

t.test('whoever is let in sees what follows, whoever is shut out sees nothing more, at the very entry', async (t) => {
  const w = await world(t, TWO)
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const bobs = await bob.connect({ node: 1 })
  const alices = await alice.connect({ node: 0 })
  const room = await createRoom(w, alice, [carol])
  await say(w, alice, room, 'before')
  const path = `rooms/${room.id}/members/${bob.name}`
  t.equal((await w.http('PUT', path, { token: alice.token, body: {} })).status, 200)
  await say(w, alice, room, 'inside')
  await bobs.until('he sees it', () => texts(bobs, room).includes('inside'))
  t.same(texts(bobs, room), ['inside'])
  const history = await w.http<{ messages: { content: { text?: string } }[] }>(
    ...(['GET', `conversations/${room.conversation}/messages`, { token: bob.token }] as const),
  )
  t.same(
    history.body.messages.flatMap(({ content }) => content.text ?? []),
    ['inside'],
    'private: what was before is not his',
  )
  t.equal((await w.http('DELETE', path, { token: alice.token })).status, 204)
  await say(w, alice, room, 'after')
  await alices.until('alice sees it', () => texts(alices, room).includes('after'))
  await bobs.until('he is told that he was removed', () =>
    bobs.messages(room.conversation).some(({ content }) => (content as { change?: string }).change === 'removed'),
  )
  bobs.ack(room.conversation, bobs.seqs(room.conversation).at(-1)!)
  bobs.send({ op: 'ping' })
  await bobs.next('pong')
  t.notOk(
    bobs.frames.some(({ op }) => op === 'error'),
    'what was shown may be acknowledged',
  )
  t.equal((await w.http('GET', `conversations/${room.conversation}/messages`, { token: bob.token })).status, 404)
  const refused = await w.http('POST', 'messages', { token: bob.token, body: { to: { room: room.id }, content: {} } })
  t.match(refused, { status: 404, body: { code: 'conversation_not_found' } })
  const again = await bob.connect({ node: 0, device: 'other' })
  t.same(again.messages(room.conversation), [])
  const list = await w.http<{ conversations: { id: string }[] }>('GET', 'conversations', { token: bob.token })
  t.same(list.body.conversations, [])
  t.same(texts(bobs, room), ['inside'])
})

t.test('fault 44: members come and go while messages are sent; each sees exactly what lies between', async (t) => {
  const w = await world(t, TWO)
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const bobs = await bob.connect({ node: 1 })
  const carols = await carol.connect({ node: 0 })
  const room = await createRoom(w, alice, [carol])
  let sending = true
  const sent: Promise<void>[] = [alice, carol].map(async (from) => {
    for (let i = 0; sending; i++) await say(w, from, room, `${from.name}.${i}`)
  })
  const path = `rooms/${room.id}/members/${bob.name}`
  for (let round = 0; round < 10; round++) {
    t.equal((await w.http('PUT', path, { token: alice.token, body: {}, api: round % 2 })).status, 200)
    t.equal((await w.http('DELETE', path, { token: alice.token, api: 1 - (round % 2) })).status, 204)
  }
  sending = false
  await Promise.all(sent)
  const last = await say(w, alice, room, 'last')
  await carols.until('carol has all', () => carols.seqs(room.conversation).at(-1) === last)
  // What carol saw says when bob was in.
  const wanted: number[] = []
  let isIn = false
  for (const { seq, type, content } of carols.messages(room.conversation)) {
    const event = type === 'system' ? (content as { joined?: string[]; left?: string[] }) : {}
    if (event.joined?.includes(bob.name)) isIn = true
    if (isIn) wanted.push(seq)
    if (event.left?.includes(bob.name)) isIn = false
  }
  await bobs.until('bob has all of his', () => bobs.seqs(room.conversation).length >= wanted.length)
  t.same(bobs.seqs(room.conversation), wanted)
  t.ok(wanted.length > 20, 'and something was said meanwhile')
})

t.test('a room that anybody may join; a ban ends that; unread counts what people said', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const room = await createRoom(w, alice, [], { visibility: 'public' })
  await say(w, alice, room, 'one')
  const bobs = await bob.connect()
  t.match(await w.http('POST', `rooms/${room.id}/join`, { token: bob.token }), {
    status: 200,
    body: { role: 'member' },
  })
  await say(w, alice, room, 'two')
  await bobs.until('two', () => texts(bobs, room).includes('two'))
  const list = await w.http('GET', 'conversations', { token: bob.token })
  t.match(list.body, { conversations: [{ id: room.conversation, kind: 'room', title: 'a room', unread: 1 }] })
  const history = await w.http('GET', `conversations/${room.conversation}/messages?limit=200`, { token: bob.token })
  t.ok(history.text.includes('"one"'), 'public: what was before is to be read')
  t.equal((await w.http('PUT', `rooms/${room.id}/bans/${bob.name}`, { token: alice.token })).status, 204)
  t.match(await w.http('POST', `rooms/${room.id}/join`, { token: bob.token }), {
    status: 403,
    body: { code: 'banned' },
  })
  await until('he is out', async () => {
    const reply = await w.http('GET', `conversations/${room.conversation}/messages`, { token: bob.token })
    return reply.status === 404
  })
})

t.test('who is muted cannot write after leaving and joining, or being removed and joining', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const room = await createRoom(w, alice, [bob])
  t.equal(
    (await w.http('PATCH', `rooms/${room.id}`, { token: alice.token, body: { visibility: 'public' } })).status,
    200,
  )
  await say(w, bob, room, 'hello')
  const member = `rooms/${room.id}/members/${bob.name}`
  const mutedUntil = Date.now() + 3_600_000
  const send = (clientId: string) =>
    w.http('POST', 'messages', {
      token: bob.token,
      body: { to: { room: room.id }, content: { text: clientId }, clientId },
    })
  t.equal((await w.http('PUT', member, { token: alice.token, body: { mutedUntil } })).status, 200)
  const goings = {
    left: () => w.http('POST', `rooms/${room.id}/leave`, { token: bob.token }),
    removed: () => w.http('DELETE', member, { token: alice.token }),
  }
  for (const [how, go] of Object.entries(goings)) {
    t.equal((await go()).status, 204, how)
    t.equal((await w.http('POST', `rooms/${room.id}/join`, { token: bob.token })).status, 200)
    await until('he is in again', async () => (await send(how)).status !== 404)
    t.match(await send(how), { status: 403, body: { code: 'muted', mutedUntil } }, how)
  }
  t.equal((await goings.left()).status, 204)
  t.equal((await w.http('PUT', member, { token: alice.token, body: { mutedUntil: null } })).status, 200)
  await until('he may write again', async () => (await send('again')).status === 202)
})

t.test('who is muted cannot write; when the room has ended nobody can', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const bobs = await bob.connect()
  const room = await createRoom(w, alice, [bob])
  await say(w, bob, room, 'hello')
  const path = `rooms/${room.id}/members/${bob.name}`
  const mutedUntil = Date.now() + 60_000
  t.match(await w.http('PUT', path, { token: alice.token, body: { mutedUntil } }), {
    status: 200,
    body: { mutedUntil },
  })
  const muted = await w.http('POST', 'messages', { token: bob.token, body: { to: { room: room.id }, content: {} } })
  t.match(muted, { status: 403, body: { code: 'muted' } })
  t.equal((await w.http('PUT', path, { token: alice.token, body: { mutedUntil: null } })).status, 200)
  await until('he may write again', async () => {
    const body = { to: { room: room.id }, content: { text: 'again' }, clientId: 'again' }
    return (await w.http('POST', 'messages', { token: bob.token, body })).status === 202
  })
  t.equal((await w.http('DELETE', `rooms/${room.id}`, { token: alice.token })).status, 204)
  await bobs.until('he is told', () =>
    bobs.messages(room.conversation).some(({ content }) => (content as { change?: string }).change === 'deleted'),
  )
  const ended = await w.http('POST', 'messages', { token: alice.token, body: { to: { room: room.id }, content: {} } })
  t.equal(ended.status, 404)
})

t.test('a Redis that forgets everything keeps nobody out and lets nobody in', async (t) => {
  const w = await world(t)
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const room = await createRoom(w, alice, [bob, eve])
  await say(w, alice, room, 'before')
  t.equal((await w.http('DELETE', `rooms/${room.id}/members/${eve.name}`, { token: alice.token })).status, 204)
  await until('all is stored', async () => {
    const rows = await w.store.use((db) =>
      db.select('SELECT seq FROM entries WHERE conversation = ?', [room.conversation]),
    )
    return rows.length === 3
  })
  const names = await w.redis.keys(`${w.namespace}:*`)
  await w.redis.del(names)
  const bobs = await bob.connect()
  await until('it goes on', async () => {
    const body = { to: { room: room.id }, content: { text: 'after' }, clientId: 'after' }
    return (await w.http('POST', 'messages', { token: alice.token, body })).status === 202
  })
  await bobs.until('bob sees it', () => texts(bobs, room).includes('after'))
  const refused = await w.http('POST', 'messages', { token: eve.token, body: { to: { room: room.id }, content: {} } })
  t.equal(refused.status, 404)
})
