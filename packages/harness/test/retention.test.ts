/** What is too old goes for good, and everything else stays as it was: heads, counts, positions, and the way of every reader past it. */
import t from 'tap'
import { type TestUser, until, type World, world } from '../src/index.js'

const DAY_MS = 86_400_000
const env = { TIDINGS_RETENTION_EVERY_S: '1' }

interface History {
  messages: { seq: number }[]
  void: [number, number][]
  head: number
  complete: boolean
  code?: string
  floor?: number
}

const history = (w: World, user: TestUser, conversation: string, query = '') =>
  w.http<History>('GET', `conversations/${conversation}/messages${query}`, { token: user.token })
const seqs = (reply: { body: History }): number[] => reply.body.messages.map(({ seq }) => seq)

async function rows(w: World, conversation: string): Promise<number[]> {
  const found = await w.store.use((db) =>
    db.select<{ seq: string }>("SELECT seq FROM entries WHERE conversation = ? AND type <> 'void' ORDER BY seq", [
      conversation,
    ]),
  )
  return found.map(({ seq }) => Number(seq))
}

const stored = (w: World, conversation: string, count: number) =>
  until(`${count} entries are stored`, async () => (await rows(w, conversation)).length === count)

/** As if these had been sent so many days ago: an id begins with its time. */
async function age(w: World, conversation: string, upTo: number, days: number): Promise<void> {
  const back = days * DAY_MS
  await w.store.use((db) =>
    db.run('UPDATE entries SET sent_at = sent_at - ?, id = id - ? WHERE conversation = ? AND seq <= ?', [
      back,
      String(BigInt(back) << 22n),
      conversation,
      upTo,
    ]),
  )
}

t.test(
  'entries older than the instance keeps go; what is above stays, and every way to read goes past them',
  async (t) => {
    const w = await world(t, { env: { ...env, TIDINGS_RETENTION_DAYS: '30' }, count: { task: 2 } })
    const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
    const { conversation } = await alice.send(bob)
    for (let i = 2; i <= 5; i++) await alice.send(bob, { text: `number ${i}` })
    const { conversation: other } = await alice.send(eve)
    const phone = await bob.connect({ device: 'phone' })
    phone.ack(conversation, 1)
    await until(
      'the phone has one',
      async () => (await w.redis.hget(w.keys.cursor(bob.name, 'phone'), conversation)) === '1',
    )
    await phone.close()
    await stored(w, conversation, 5)
    await stored(w, other, 1)
    await age(w, conversation, 3, 40)
    await until('three are removed', async () => (await rows(w, conversation)).length === 2)
    t.same(await rows(w, other), [1], 'what is young stays')

    const newest = await history(w, bob, conversation)
    t.match(newest, { status: 200, body: { void: [], head: 5, complete: true } })
    t.same(seqs(newest), [4, 5])
    for (const query of ['?after=0', '?after=2', '?before=2', '?before=4']) {
      t.match(
        await history(w, bob, conversation, query),
        { status: 410, body: { code: 'cursor_too_old', floor: 3 } },
        query,
      )
    }
    t.same(seqs(await history(w, bob, conversation, '?after=3')), [4, 5], 'on from the floor')
    t.same(seqs(await history(w, bob, conversation, '?before=5')), [4])
    t.equal((await history(w, eve, conversation, '?after=0')).status, 404, 'others learn nothing of it')

    const back = await bob.connect({ device: 'phone' })
    t.same(back.seqs(conversation), [4, 5])
    t.match(
      back.frames.filter(({ op }) => op === 'void'),
      [{ conversation, from: 2, to: 3 }],
      'a device that stood below goes on, and is told what it will never get',
    )
    const offline = await w.http<History>('GET', 'offline?device=tablet&from=oldest', { token: bob.token })
    t.match(offline.body, { messages: [{ seq: 4 }, { seq: 5 }], void: { [conversation]: [[1, 3]] }, nextCursor: null })
    const list = await w.http('GET', 'conversations', { token: bob.token })
    t.match(list.body, { conversations: [{ id: conversation, head: 5, unread: 2, lastMessage: { seq: 5 } }] })
    t.equal((await alice.send(bob)).seq, 6, 'the next seq is the next seq')
    await back.until('live as ever', () => back.seqs(conversation).includes(6))
  },
)

t.test(
  'a conversation of which nothing is left goes on with its next seq, also after Redis has forgotten',
  async (t) => {
    const w = await world(t, { env: { ...env, TIDINGS_RETENTION_DAYS: '1' } })
    const [alice, bob] = [await w.user(), await w.user()]
    const { conversation } = await alice.send(bob)
    await alice.send(bob)
    const { id } = await alice.send(bob)
    const body = { content: { text: 'edited' } }
    t.equal((await w.http('PATCH', `messages/${id}`, { token: alice.token, body })).status, 202)
    t.equal(await w.redis.exists(w.keys.fold(conversation)), 1)
    await stored(w, conversation, 4)
    await age(w, conversation, 4, 2)
    await until('all are removed', async () => (await rows(w, conversation)).length === 0)
    t.same(await w.redis.xlen(w.keys.log(conversation)), 0, 'nor has Redis any of them')
    await until('nor what was made of them', async () => (await w.redis.exists(w.keys.fold(conversation))) === 0)
    t.match((await history(w, bob, conversation)).body, { messages: [], void: [], head: 4, complete: true })
    const list = await w.http('GET', 'conversations', { token: bob.token })
    t.match(list.body, { conversations: [{ id: conversation, head: 4, unread: 0, lastMessage: null }] })
    const device = await bob.connect()
    t.match(
      device.frames.filter(({ op }) => op === 'void'),
      [{ conversation, from: 1, to: 4 }],
    )
    await w.redis.del(w.keys.seq(conversation), w.keys.log(conversation))
    await until('its head is known again', async () => {
      const reply = await history(w, bob, conversation)
      return reply.status === 200 && reply.body.head === 4
    })
  },
)

t.test('a room may keep less, if its owner says so', async (t) => {
  const w = await world(t, { env })
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const make = async () => {
    const body = { name: 'a room', members: [bob.name] }
    const made = await w.http<{ id: string; conversation: string }>('POST', 'rooms', { token: alice.token, body })
    for (let i = 0; i < 3; i++) {
      const message = { to: { room: made.body.id }, content: { text: 'hello' } }
      await w.http('POST', 'messages', { token: alice.token, body: message })
    }
    await stored(w, made.body.conversation, 4)
    await age(w, made.body.conversation, 3, 5)
    return made.body
  }
  const [short, long] = [await make(), await make()]
  const patch = (user: TestUser, retentionDays: unknown) =>
    w.http('PATCH', `rooms/${short.id}`, { token: user.token, body: { retentionDays } })
  t.match(await patch(bob, 3), { status: 403, body: { code: 'forbidden' } })
  t.match(await patch(eve, 3), { status: 404, body: { code: 'room_not_found' } })
  for (const wrong of [0, -1, 3_651, 1.5, '3'])
    t.match(await patch(alice, wrong), { status: 400, body: { code: 'invalid_request' } }, String(wrong))
  const sees = await bob.connect()
  t.match(await patch(alice, 3), { status: 200, body: { retentionDays: 3 } })
  await sees.until('the room is told', () =>
    sees
      .messages(short.conversation)
      .some(({ content }) => (content as { room?: { retentionDays?: number } }).room?.retentionDays === 3),
  )
  await until('its old entries are removed', async () => (await rows(w, short.conversation))[0] === 4)
  t.same(await rows(w, long.conversation), [1, 2, 3, 4], 'no other room is touched')
  t.match(await history(w, bob, short.conversation, '?after=1'), { status: 410, body: { floor: 3 } })
  t.match(await patch(alice, null), { status: 200, body: { retentionDays: null } })
  t.match((await w.http('GET', `rooms/${short.id}`, { token: bob.token })).body, { retentionDays: null })
})
