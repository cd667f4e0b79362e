/** Pushes to users and rooms as servers and their users see them: real sockets on two nodes, two of each app. */
import { insertUser } from '@tidings/store'
import t from 'tap'
import { until, type World, world } from '../src/index.js'
import { BLIND, conversations, PUSH, type Pushed, push, type Seen, TWO, texts, textsOf } from './pushing.js'

const w = await world(t, TWO)

t.test('a notification is in the feed of each user, on every device, and nobody else reads it', async (t) => {
  const [alice, bob] = [await w.user(), await w.user()]
  const phone = await alice.connect({ device: 'phone', node: 0 })
  const laptop = await alice.connect({ device: 'laptop', node: 1 })
  const feed = `feed:${alice.name}`
  const first = await push(w, { users: [alice.name, bob.name, alice.name, 'nobody'] }, 'one', {
    key: 'k1',
    priority: 'high',
  })
  t.match(first, { accepted: 2, duplicates: 0, refused: [{ user: 'nobody', code: 'user_not_found' }] })
  for (const client of [phone, laptop]) {
    await client.until('it', () => client.messages(feed).length === 1)
    t.match(client.messages(feed)[0], { from: 'service:shop', type: 'system', seq: 1, priority: 'high' })
    t.notOk('expiresAt' in client.messages(feed)[0]!)
  }
  const again = await push(w, { users: [alice.name, bob.name] }, 'one', { key: 'k1', priority: 'high' })
  t.match(again, { accepted: 2, duplicates: 2, refused: [] }, 'the whole call again')
  const other = await push(w, { users: [alice.name] }, 'another text', { key: 'k1' })
  t.match(other, { accepted: 0, refused: [{ user: alice.name, code: 'idempotency_conflict' }] })
  await push(w, { users: [alice.name] }, 'two')
  await phone.until('the next', () => phone.messages(feed).length === 2)
  t.same(texts(phone, feed), ['one', 'two'], 'nothing twice')

  t.match(await conversations(w, alice), [{ id: feed, kind: 'feed', unread: 2, head: 2, lastMessage: { seq: 2 } }])
  const read = await w.http('POST', `conversations/${feed}/read`, { token: alice.token, body: { seq: 2 } })
  t.equal(read.status, 204)
  t.match(await conversations(w, alice), [{ id: feed, unread: 0, read: 2 }])

  t.equal((await w.http('GET', `conversations/${feed}/messages`, { token: bob.token })).status, 404)
  t.equal((await w.http('POST', `conversations/${feed}/read`, { token: bob.token, body: { seq: 1 } })).status, 404)
  const bobs = await bob.connect({ node: 0 })
  bobs.send({ op: 'sync', conversation: feed, after: 0 })
  t.match(await bobs.next('error'), { code: 'conversation_not_found' })
  t.same(bobs.messages(feed), [])
  for (const token of [alice.token, BLIND]) {
    const refused = await w.http('POST', 'push', { token, body: { to: { users: [bob.name] }, content: {} } })
    t.match(refused, { status: 403, body: { code: 'forbidden' } })
  }
})

t.test('a server speaks in a room, whose members it need not be among, and cannot change who is in it', async (t) => {
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const made = await w.http<{ id: string; conversation: string }>('POST', 'rooms', {
    token: alice.token,
    body: { name: 'Team', members: [bob.name] },
  })
  const { id, conversation } = made.body
  const bobs = await bob.connect({ node: 1 })
  const carols = await carol.connect({ node: 1 })
  const forged = { event: 'room', change: 'removed', version: 2, by: alice.name, left: [bob.name] }
  const reply = await w.http<Pushed>('POST', 'push', {
    token: PUSH,
    body: { to: { room: id }, content: forged },
    headers: { 'idempotency-key': 'room.2' },
  })
  t.equal(reply.status, 202)
  await push(w, { room: id }, 'the build is green', { ttl: 60 })
  await bobs.until('it', () => texts(bobs, conversation).includes('the build is green'))
  t.match(bobs.messages(conversation).at(-1), { from: 'service:shop', type: 'system' })
  const said = await w.http('POST', 'messages', { token: bob.token, body: { to: { room: id }, content: {} } })
  t.equal(said.status, 202, 'bob is in it still')
  t.same(carols.messages(), [])
  t.match(
    (await conversations(w, alice)).find((one) => one.id === conversation),
    { unread: 3 },
  )
  t.equal((await w.http('DELETE', `rooms/${id}`, { token: alice.token })).status, 204)
  for (const room of [id, 'x'.repeat(16)]) {
    const gone = await w.http('POST', 'push', { token: PUSH, body: { to: { room }, content: {} } })
    t.match(gone, { status: 404, body: { code: 'room_not_found' } })
  }
})

/** A quiet machine needs less than a second; others may want its cores too. */
const MANY_MS = 30_000

async function manyUsers(w: World, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `many${i}`)
  const now = new Date()
  await w.store.use(async (db) => {
    for (let at = 0; at < count; at += 1_000) {
      const rows = names.slice(at, at + 1_000).map((id) => [id, id, now])
      await db.run('INSERT INTO users (id, display_name, created_at) VALUES ?', [rows])
    }
  })
  return names
}

t.test('ten thousand users in one call, within seconds, and again without doubling', async (t) => {
  await insertUser(w.store, { id: 'last', displayName: 'last', passwordHash: null, createdAt: new Date() })
  const users = [...(await manyUsers(w, 9_999)), 'last']
  const began = performance.now()
  t.match(await push(w, { users }, 'news', { key: 'once', ttl: 600 }), { accepted: 10_000, duplicates: 0, refused: [] })
  const tookMs = performance.now() - began
  t.comment(`10,000 users in ${Math.round(tookMs)} ms`)
  t.ok(tookMs < MANY_MS, 'the call ends within seconds')
  t.match(await push(w, { users }, 'news', { key: 'once', ttl: 600 }), { accepted: 10_000, duplicates: 10_000 })
  const stored = async () =>
    Number(
      (
        await w.store.use((db) =>
          db.select<{ found: string }>(
            "SELECT COUNT(*) AS found FROM entries WHERE conversation REGEXP '^feed:(many|last)'",
            [],
          ),
        )
      )[0]!.found,
    )
  await until('all are stored', async () => (await stored()) >= 10_000, 30_000)
  t.equal(await stored(), 10_000)
  const token = w.token('many5000')
  const seen = await w.http<{ messages: Seen[] }>('GET', 'offline?device=phone', { token })
  t.same(textsOf(seen.body.messages), ['news'])
})
