/** Where devices and people stand: moved over HTTP as over the WebSocket, known again after Redis forgot, found before MySQL knows. */
import t from 'tap'
import { TestClient, type TestUser, until, type World, world } from '../src/index.js'

interface Offline {
  messages: { conversation: string; seq: number }[]
  void: Record<string, [number, number][]>
  nextCursor: string | null
  more: boolean
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)
const offline = (w: World, user: TestUser, query = '') =>
  w.http<Offline>('GET', `offline${query}`, { token: user.token })
const move = (w: World, user: TestUser, what: 'ack' | 'read', conversation: string, body: object) =>
  w.http<{ code: string }>('POST', `conversations/${conversation}/${what}`, { token: user.token, body })
const list = async (w: World, user: TestUser) =>
  (await w.http<{ conversations: object[] }>('GET', 'conversations', { token: user.token })).body.conversations

t.test('a client without a WebSocket: page what was missed, acknowledge it, and never see it again', async (t) => {
  const w = await world(t)
  const [alice, bob, carol] = [await w.user('alice'), await w.user('bob'), await w.user('carol')]
  const content = '{"z":9007199254740993,"a":1e400, "text":"hé \\u00e9"}'
  await w.http('POST', 'messages', { token: carol.token, body: `{"to":{"user":"bob"},"content":${content}}` })
  await Promise.all(upTo(120).map(() => alice.send(bob)))

  const seen: string[] = []
  let cursor: string | null = '0'
  for (let pages = 0; cursor !== null; pages++) {
    const page: Awaited<ReturnType<typeof offline>> = await offline(w, bob, `?device=tablet&limit=50&cursor=${cursor}`)
    t.equal(page.status, 200)
    seen.push(...page.body.messages.map(({ conversation, seq }) => `${conversation} ${seq}`))
    if (pages === 2) t.ok(page.text.includes(`"content":${content}`), 'the very text that was sent')
    const last = page.body.messages.at(-1)!
    const acked = await move(w, bob, 'ack', last.conversation, { seq: last.seq, device: 'tablet' })
    t.equal(acked.status, 204)
    t.equal(page.body.more, page.body.nextCursor !== null)
    cursor = page.body.nextCursor
  }
  t.same(seen, [...upTo(120).map((seq) => `dm:alice:bob ${seq}`), 'dm:bob:carol 1'])
  // The page that went over into the second conversation acknowledged that one only.
  await move(w, bob, 'ack', 'dm:alice:bob', { seq: 120, device: 'tablet' })
  t.match((await offline(w, bob, '?device=tablet')).body, { messages: [], void: {}, nextCursor: null, more: false })
  const socket = await bob.connect({ device: 'tablet' })
  t.same(socket.seqs(), [], 'it is one device, by whatever way it comes')
  await alice.send(bob)
  await socket.until('the next one', () => socket.seqs().includes(121))
  t.match((await offline(w, bob, '?device=tablet')).body.messages, [{ seq: 121 }])
  t.equal((await offline(w, bob, '?device=tablet&from=oldest')).body.messages.length, 100)
})

t.test('over HTTP too, positions are refused beyond the head and stay where they are', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const { conversation } = await alice.send(bob)
  await alice.send(bob)
  const cursor = () => w.redis.hget(w.keys.cursor(bob.name, 'phone'), conversation)
  t.match(await move(w, bob, 'ack', conversation, { seq: 3, device: 'phone' }), {
    status: 400,
    body: { code: 'beyond_head' },
  })
  t.match(await move(w, bob, 'read', conversation, { seq: 3 }), { status: 400, body: { code: 'beyond_head' } })
  t.same([await cursor(), await w.redis.hget(w.keys.read(conversation), bob.name)], [null, null])
  t.equal((await move(w, bob, 'ack', conversation, { seq: 2, device: 'phone' })).status, 204)
  t.equal((await move(w, bob, 'ack', conversation, { seq: 1, device: 'phone' })).status, 204)
  t.equal(await cursor(), '2', 'never backwards')
})

t.test('cursors and read positions come back from MySQL after Redis forgot everything', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const { conversation } = await alice.send(bob)
  await Promise.all(upTo(9).map(() => alice.send(bob)))
  for (const [device, seq] of [
    ['laptop', 3],
    ['phone', 6],
  ] as const) {
    const socket = await bob.connect({ device })
    socket.ack(conversation, seq)
    await until(
      'acked',
      async () => (await w.redis.hget(w.keys.cursor(bob.name, device), conversation)) === String(seq),
    )
    await socket.close()
  }
  t.equal((await move(w, bob, 'read', conversation, { seq: 4 })).status, 204)
  await until('all is in MySQL', () =>
    w.store.use(async (db) => {
      const count = async (table: string): Promise<number> =>
        Number(
          (await db.select<{ n: number }>(`SELECT SUM(seq) AS n FROM \`${table}\` WHERE user = ?`, [bob.name]))[0]!.n,
        )
      const [rows] = await db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries')
      return (await count('cursors')) === 9 && (await count('reads')) === 4 && Number(rows!.n) === 10
    }),
  )
  await w.redis.del(await w.redis.keys(`${w.namespace}:*`))

  t.match(await list(w, bob), [{ id: conversation, head: 10, delivered: 6, read: 4, unread: 6 }])
  const phone = await bob.connect({ device: 'phone' })
  t.same(phone.seqs(), [7, 8, 9, 10])
  t.match(
    (await offline(w, bob, '?device=laptop')).body.messages.map(({ seq }) => seq),
    [4, 5, 6, 7, 8, 9, 10],
  )
  const fresh = await bob.connect({ device: 'new' })
  t.same(fresh.seqs(), [7, 8, 9, 10], 'a new device starts after what any has acknowledged')
  t.equal((await move(w, bob, 'read', conversation, { seq: 2 })).status, 204)
  t.match(await list(w, bob), [{ read: 4 }], 'not even now backwards')

  const body = { to: { user: bob.name }, content: {}, clientId: 'after' }
  await until(
    'sending again',
    async () => (await w.http('POST', 'messages', { token: alice.token, body })).status === 202,
  )
  const head = Number(await w.redis.get(w.keys.seq(conversation)))
  t.ok(head > 11, 'it leapt, for nobody knows what was lost')
  await until('the leap is known to be void', async () => {
    const { body } = await offline(w, bob, '?device=laptop&limit=500')
    return body.void?.[conversation] !== undefined
  })
  const { body: page } = await offline(w, bob, '?device=laptop&limit=500')
  t.same(
    page.messages.map(({ seq }) => seq),
    [4, 5, 6, 7, 8, 9, 10, head],
  )
  t.same(page.void, { [conversation]: [[11, head - 1]] })
})

t.test('the first message of a conversation is found before MySQL knows it', async (t) => {
  const w = await world(t, { count: { task: 0 } })
  const [alice, bob] = [await w.user(), await w.user()]
  const early = await bob.connect({ device: 'early' })
  const { conversation } = await alice.send(bob, { text: 'first' })
  const late = await bob.connect({ device: 'late' })
  t.match(late.messages(), [{ conversation, seq: 1, content: { text: 'first' } }])
  t.match((await offline(w, bob, '?device=other')).body.messages, [{ conversation, seq: 1 }])
  t.match(await list(w, bob), [{ id: conversation, unread: 1 }])
  t.equal((await move(w, bob, 'read', conversation, { seq: 1 })).status, 204)
  t.equal((await move(w, bob, 'ack', conversation, { seq: 1, device: 'other' })).status, 204)
  t.match(await list(w, bob), [{ id: conversation, unread: 0, delivered: 1 }])
  await early.until('the re-check shows it to whoever was there before', () => early.seqs().length === 1)
  const [row] = await w.store.use((db) => db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries'))
  t.equal(Number(row!.n), 0, 'nobody persists')
})

t.test('resume with too many, foreign, future and impossible cursors (46)', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const { conversation } = await alice.send(bob)
  for (let i = 0; i < 4; i++) await alice.send(bob)
  const open = async (): Promise<TestClient> => {
    const socket = await TestClient.open(`${w.connects[0]!.url}?resume=client`, { token: bob.token })
    await socket.next('ready')
    return socket
  }
  const foreign = (from: number, count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`dm:a:${from + i}`, 1]))

  const many = await open()
  many.send({ op: 'resume', cursors: foreign(0, 1_001) })
  t.match(await many.next('error'), { code: 'invalid_request', ref: 'resume' }, 'capped per frame')
  for (let i = 0; i < 10_000; i += 1_000) many.send({ op: 'resume', cursors: foreign(i, 1_000) })
  many.send({ op: 'resume', cursors: { [conversation]: 3, nonsense: 1, '': 2 }, done: true })
  t.match(await many.next('synced'), { messages: 2 }, '10,000 foreign ones are ignored')
  t.same(many.seqs(), [4, 5])
  t.equal(many.frames.filter(({ op }) => op === 'error').length, 1)
  many.send({ op: 'resume', cursors: { [conversation]: 0 }, done: true })
  t.match(await many.next('error'), { code: 'invalid_request' }, 'once')
  await many.close()

  const large = await open()
  large.send({ op: 'resume', cursors: foreign(10_000, 2_000) })
  t.equal(await large.closed(), 1009, 'a frame beyond the bound of frames')

  const future = await open()
  for (const cursor of [-1, 1.5]) future.send({ op: 'resume', cursors: { [conversation]: cursor } })
  t.match([await future.next('error'), await future.next('error')], [{ code: 'bad_frame' }, { code: 'bad_frame' }])
  future.send({ op: 'resume', cursors: { [conversation]: Number.MAX_SAFE_INTEGER }, done: true })
  t.match(await future.next('synced'), { messages: 0 })
  await alice.send(bob)
  await future.until('clamped: what comes next is shown', () => future.seqs().includes(6))
  future.ack(conversation, 7)
  t.match(await future.next('error'), { code: 'beyond_head' })
})
