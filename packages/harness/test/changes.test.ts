/** Edits, recalls and reactions as people see them: who may, and that what was taken back comes back nowhere. */
import { startRedis } from '@tidings/infra'
import { GENERATION_SEQS } from '@tidings/stream'
import t, { type Test } from 'tap'
import { type Reply, type Sent, type TestUser, until, type World, world } from '../src/index.js'

interface Message {
  id: string
  seq: number
  type: string
  content?: { text?: string; content?: { text: string } }
  editedAt?: number
  recalledBy?: string
  reactions?: Record<string, { count: number; users: string[] }>
}

/** Calls of one person about one message. */
const of = (w: World, user: Pick<TestUser, 'token'>) => ({
  edit: (id: string, text: string, clientId?: string) =>
    w.http<Sent>('PATCH', `messages/${id}`, {
      token: user.token,
      body: { content: { text }, ...(clientId && { clientId }) },
    }),
  recall: (id: string) => w.http<Sent>('DELETE', `messages/${id}`, { token: user.token }),
  react: (id: string, emoji = '👍', method: 'PUT' | 'DELETE' = 'PUT') =>
    w.http<Sent>(method, `messages/${id}/reactions/${encodeURIComponent(emoji)}`, { token: user.token }),
  get: (id: string) => w.http<Message>('GET', `messages/${id}`, { token: user.token }),
  history: async (conversation: string) =>
    (await w.http<{ messages: Message[] }>('GET', `conversations/${conversation}/messages?after=0&limit=200`, user))
      .body.messages,
  list: async () =>
    (
      await w.http<{ conversations: { id: string; unread: number; head: number; lastMessage: Message }[] }>(
        'GET',
        'conversations',
        user,
      )
    ).body.conversations,
})

const isRefused = (t: Test, reply: Reply<unknown>, status: number, code: string, about: string) =>
  t.match({ status: reply.status, ...(reply.body as object) }, { status, code }, about)

async function storedUpTo(w: World, conversation: string, seq: number): Promise<void> {
  await until(`${seq} is stored`, async () => {
    const [row] = await w.store.use((db) =>
      db.select<{ seq: string }>('SELECT MAX(seq) AS seq FROM entries WHERE conversation = ?', [conversation]),
    )
    return Number(row?.seq) >= seq
  })
}

t.test('changes arrive as entries, and everybody who looks later sees what they made', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const live = await bob.connect({ device: 'live' })
  const one = await alice.send(bob, { text: 'helo' })
  const two = await bob.send(alice, { text: 'what?', replyTo: one.id })
  const edited = await of(w, alice).edit(one.id, 'hello', 'e-1')
  t.match(edited, { status: 202, body: { conversation: one.conversation, seq: 3, duplicate: false } })
  t.match(await of(w, alice).edit(one.id, 'hello', 'e-1'), { body: { id: edited.body.id, seq: 3, duplicate: true } })
  isRefused(t, await of(w, alice).edit(one.id, 'other', 'e-1'), 409, 'idempotency_conflict', 'the key is taken')
  t.match(await of(w, bob).react(one.id), { status: 202, body: { seq: 4 } })
  t.match(await of(w, bob).react(one.id), { status: 202, body: { seq: 4, duplicate: true } })
  t.match(await of(w, alice).react(two.id, '❤️'), { body: { seq: 5 } })
  t.match(await of(w, alice).react(two.id, '❤️', 'DELETE'), { body: { seq: 6 } })
  await live.until('all', () => live.seqs().includes(6))
  t.match(
    live.messages().map(({ type, content }) => [type, content]),
    [
      ['text', { text: 'helo' }],
      ['text', { text: 'what?', replyTo: one.id }],
      ['edit', { target: one.id, seq: 1, content: { text: 'hello' } }],
      ['reaction', { target: one.id, seq: 1, emoji: '👍', action: 'add' }],
      ['reaction', { emoji: '❤️', action: 'add' }],
      ['reaction', { emoji: '❤️', action: 'remove' }],
    ],
    'a live client gets each of them, in order',
  )
  const now = {
    content: { text: 'hello' },
    editedAt: edited.body.sentAt,
    reactions: { '👍': { count: 1, users: [bob.name] } },
  }
  const check = async (about: string) => {
    t.match((await of(w, bob).history(one.conversation))[0], now, `history, ${about}`)
    t.match((await of(w, bob).get(one.id)).body, now, `the message, ${about}`)
    const phone = await bob.connect({ device: `phone-${about}`, query: '&from=oldest' })
    t.match(phone.messages()[0], now, `a socket, ${about}`)
    t.same(phone.seqs(), [1, 2, 3, 4, 5, 6])
    t.match(
      await of(w, bob).list(),
      [{ id: one.conversation, head: 6, lastMessage: { id: two.id, reactions: undefined } }],
      'the last message is the last one that somebody wrote',
    )
  }
  await check('log')
  await storedUpTo(w, one.conversation, 6)
  await w.redis.del(w.keys.log(one.conversation), w.keys.fold(one.conversation))
  await check('mysql')
})

t.test('who may change what', async (t) => {
  const w = await world(t, { env: { TIDINGS_SERVICE_TOKENS: 'backend:send:service-token-with-send' } })
  const [alice, bob, carol, eve] = [await w.user(), await w.user(), await w.user(), await w.user()]
  const { id } = await alice.send(bob, { text: 'mine' })
  isRefused(t, await of(w, bob).edit(id, 'yours'), 403, 'forbidden', 'an edit by the other one')
  isRefused(t, await of(w, bob).recall(id), 403, 'forbidden', 'a recall by the other one')
  for (const [about, reply] of Object.entries({
    edit: await of(w, eve).edit(id, 'x'),
    recall: await of(w, eve).recall(id),
    reaction: await of(w, eve).react(id),
    unknown: await of(w, alice).recall('7261234567890123456'),
    'no id': await of(w, alice).recall('x'),
  }))
    isRefused(t, reply, 404, 'message_not_found', about)
  const edited = await of(w, alice).edit(id, 'mine!')
  isRefused(t, await of(w, alice).edit(edited.body.id, 'x'), 409, 'message_not_changeable', 'an edit of an edit')
  isRefused(t, await of(w, bob).react(edited.body.id), 409, 'message_not_changeable', 'a reaction to an edit')
  await w.http('PUT', `blocks/${alice.name}`, { token: bob.token })
  await until('the block counts', async () => (await of(w, alice).edit(id, 'still')).status === 403)
  isRefused(t, await of(w, alice).react(id), 403, 'blocked', 'a reaction by one who is blocked')
  const token = 'service-token-with-send'
  isRefused(t, await w.http('DELETE', `messages/${id}?from=${bob.name}`, { token }), 403, 'forbidden', 'as bob')
  await w.http('DELETE', `blocks/${alice.name}`, { token: bob.token })
  await until('a service may as its user may', async () => {
    return (await w.http('DELETE', `messages/${id}?from=${alice.name}`, { token })).status === 202
  })

  const room = await w.http<{ id: string; conversation: string }>('POST', 'rooms', {
    token: alice.token,
    body: { name: 'room', members: [bob.name, carol.name] },
  })
  const to = { room: room.body.id }
  const say = async (user: TestUser) =>
    (await w.http<Sent>('POST', 'messages', { token: user.token, body: { to, content: { text: 'in the room' } } })).body
  const bobs = await say(bob)
  isRefused(t, await of(w, carol).recall(bobs.id), 403, 'forbidden', 'a member')
  isRefused(t, await of(w, alice).edit(bobs.id, 'x'), 403, 'forbidden', 'an edit by the owner')
  t.equal((await of(w, carol).react(bobs.id)).status, 202)
  isRefused(t, await of(w, eve).react(bobs.id), 404, 'message_not_found', 'nobody of the room')
  t.match(await of(w, alice).recall(bobs.id), { status: 202 }, 'the owner may recall')
  t.match((await of(w, carol).get(bobs.id)).body, { type: 'recalled', content: undefined, recalledBy: alice.name })
  isRefused(t, await of(w, bob).edit(bobs.id, 'x'), 409, 'message_recalled', 'an edit of what is gone')
  const carols = await say(carol)
  const mutedUntil = Date.now() + 60_000
  await w.http('PUT', `rooms/${room.body.id}/members/${carol.name}`, { token: alice.token, body: { mutedUntil } })
  isRefused(t, await of(w, carol).edit(carols.id, 'x'), 403, 'muted', 'who is muted')
  const system = (await of(w, bob).history(room.body.conversation)).find(({ type }) => type === 'system')!
  isRefused(t, await of(w, alice).recall(system.id), 409, 'message_not_changeable', 'what the system wrote')
  const socket = await bob.connect()
  for (const type of ['edit', 'recall', 'reaction', 'system', 'void']) {
    const content = { target: carols.id, seq: carols.seq, content: {}, emoji: '👍', action: 'add' }
    socket.send({ op: 'send', to, type, content, clientId: type })
    await socket.until(type, () =>
      socket.frames.some((f) => f.op === 'error' && f.clientId === type && f.code === 'forbidden'),
    )
    const body = { to, type, content }
    isRefused(t, await w.http('POST', 'messages', { token: bob.token, body }), 403, 'forbidden', `a forged ${type}`)
  }
})

t.test('the time to edit and to recall ends, and that of a reaction does not', async (t) => {
  const w = await world(t, { env: { TIDINGS_EDIT_WINDOW_S: '1', TIDINGS_RECALL_WINDOW_S: '1' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const { id, sentAt } = await alice.send(bob)
  const edited = await of(w, alice).edit(id, 'in time', 'e-1')
  t.equal(edited.status, 202)
  await until('it is too late', () => Date.now() > sentAt + 1_100)
  isRefused(t, await of(w, alice).edit(id, 'late'), 403, 'change_window_over', 'edit')
  isRefused(t, await of(w, alice).recall(id), 403, 'change_window_over', 'recall')
  t.match(await of(w, alice).edit(id, 'in time', 'e-1'), { status: 202, body: { id: edited.body.id, duplicate: true } })
  t.equal((await of(w, bob).react(id)).status, 202)
})

t.test('of an edit and a recall that race, everybody sees the same', async (t) => {
  const w = await world(t, { count: { api: 2, logic: 2 } })
  const [alice, bob] = [await w.user(), await w.user()]
  const live = await bob.connect()
  const sent: Sent[] = []
  const outcomes: Reply[] = []
  // A few at a time: more would be shed by an api whose event loop is late.
  for (let round = 0; round < 5; round++) {
    const some = [await alice.send(bob, { text: 'raced' }), await alice.send(bob, { text: 'raced' })]
    const body = { content: { text: 'edited' } }
    const racing = some.flatMap(({ id }, i) => [
      w.http('PATCH', `messages/${id}`, { token: alice.token, body, api: i }),
      w.http('DELETE', `messages/${id}`, { token: alice.token, api: (i + round) % 2 }),
    ])
    outcomes.push(...(await Promise.all(racing)))
    sent.push(...some)
  }
  for (const [i, { status, body }] of outcomes.entries()) {
    if (i % 2 === 1) t.equal(status, 202, 'the recall always')
    else if (status !== 202) t.match({ status, ...body }, { status: 409, code: 'message_recalled' })
  }
  const { conversation } = sent[0]!
  const { head } = (await of(w, bob).list())[0]!
  await storedUpTo(w, conversation, head)
  await live.until('all', () => live.seqs().includes(head))
  const gone = async () => (await of(w, bob).history(conversation)).filter(({ type }) => type === 'recalled').length
  t.equal(await gone(), sent.length)
  await w.redis.del(w.keys.log(conversation), w.keys.fold(conversation))
  t.equal(await gone(), sent.length, 'in MySQL too')
  t.notMatch(JSON.stringify(await of(w, bob).history(conversation)), /raced|edited"/)
})

/** Everything that somebody can be shown of a conversation, as text. */
async function everything(
  t: Test,
  w: World,
  user: TestUser,
  { id, conversation }: Sent,
  device: string,
): Promise<string> {
  const socket = await user.connect({ device })
  const old = await user.connect({ device: `${device}-old`, query: '&from=oldest' })
  old.send({ op: 'sync', conversation, after: 0, limit: 500 })
  await old.next('synced')
  const texts = [...socket.raw, ...old.raw]
  for (const path of [
    `offline?device=${device}-http&limit=500&from=oldest`,
    `conversations/${conversation}/messages?limit=200`,
    `conversations/${conversation}/messages?after=0&limit=200`,
    'conversations',
    `messages/${id}`,
  ])
    texts.push((await w.http('GET', path, { token: user.token })).text)
  await socket.close()
  await old.close()
  t.ok(
    texts.every((text) => !text.includes('"unavailable"')),
    device,
  )
  return texts.join('\n')
}

t.test('a device that was away never sees what was recalled, wherever it is read from', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const w = await world(t, { stores: { redisUrl: redis.url }, env: { TIDINGS_PARTITIONS: '1' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const phone = await bob.connect({ device: 'phone' })
  const sent = await alice.send(bob, { text: 'SECRET one' })
  await phone.until('it', () => phone.seqs().includes(1))
  await phone.close()
  await of(w, alice).edit(sent.id, 'SECRET two')
  await of(w, alice).edit(sent.id, 'SECRET three')
  const recalled = await of(w, alice).recall(sent.id)
  t.equal(recalled.status, 202)
  const last = await alice.send(bob, { text: 'after' })
  const check = async (about: string): Promise<void> => {
    const seen = await everything(t, w, bob, sent, about)
    t.notMatch(seen, /SECRET/, about)
    t.match(seen, /"type":"recalled"/, `${about}: the fact is there`)
    t.match(seen, /"type":"edit","content":\{"target":"\d+","seq":1\}/, `${about}: and that of the edits`)
  }
  await check('log')
  t.match(await of(w, bob).list(), [{ unread: 2, lastMessage: { id: last.id } }], 'it counted, and counts still')
  await storedUpTo(w, sent.conversation, last.seq)
  const held = await w.store.use((db) => db.select('SELECT * FROM entries WHERE conversation = ?', [sent.conversation]))
  t.notMatch(JSON.stringify(held), /SECRET/, 'MySQL has it no more')
  await check('stored')

  // A server that took over has forgotten the recall and what came after it, and MySQL knows them.
  const { conversation } = sent
  await w.redis
    .multi()
    .xdel(w.keys.log(conversation), `${recalled.body.seq}-0`, `${last.seq}-0`)
    .xsetid(w.keys.log(conversation), '3-0')
    .set(w.keys.seq(conversation), '3')
    .del(w.keys.fold(conversation))
    .set(w.keys.generation(0), `1 ${'0'.repeat(40)}`)
    .exec()
  await until('it leapt', async () => Number(await w.redis.get(w.keys.seq(conversation))) > GENERATION_SEQS)
  await check('failover')
  isRefused(t, await of(w, alice).edit(sent.id, 'x'), 409, 'message_recalled', 'after the failover')

  await w.redis.flushall()
  await check('flushed')
  isRefused(t, await of(w, alice).edit(sent.id, 'x'), 409, 'message_recalled', 'Redis was told by MySQL')
  // A generation may still be opening: 503, and it is repeated.
  await until('the recall is repeated', async () => {
    const repeated = await of(w, alice).recall(sent.id)
    if (repeated.status === 503) return false
    t.match(repeated, { status: 202, body: { id: recalled.body.id, duplicate: true } })
    return true
  })
  await check('again')
})

t.test('a recall that is not stored yet hides what MySQL still has', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const sent = await alice.send(bob, { text: 'SECRET one' })
  const next = await alice.send(bob, { text: 'SECRET two' })
  await storedUpTo(w, sent.conversation, 2)
  await w.stop('task')
  // As after a day of silence.
  await w.redis.del(w.keys.log(sent.conversation))
  await of(w, alice).edit(sent.id, 'SECRET three')
  t.equal((await of(w, alice).recall(sent.id)).status, 202)
  t.equal((await of(w, alice).recall(next.id)).status, 202)
  t.notMatch(await everything(t, w, bob, sent, 'old'), /SECRET/)
  t.match(await of(w, bob).list(), [{ lastMessage: { id: next.id, type: 'recalled', content: undefined } }])
})

t.test('reactions of long ago are known when Redis has forgotten them', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const { id, conversation } = await alice.send(bob)
  const first = await of(w, bob).react(id)
  await storedUpTo(w, conversation, 2)
  await w.redis.del(w.keys.fold(conversation))
  t.match(await of(w, bob).react(id), { status: 202, body: { id: first.body.id, seq: 2, duplicate: true } })
  t.match(await of(w, alice).react(id), { body: { seq: 3, duplicate: false } })
  await storedUpTo(w, conversation, 3)
  for (const reader of [alice, bob])
    t.match((await of(w, reader).get(id)).body.reactions, { '👍': { count: 2, users: [bob.name, alice.name] } })
})

t.test('search finds what a message says now, and nothing of what was taken back', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const found = async (word: string) =>
    (await w.http<{ hits: unknown[] }>('GET', `search?q=${word}`, { token: bob.token })).text.includes(sent.id)
  const sent = await alice.send(bob, { text: 'SECRETONE' })
  await until('it is found', () => found('SECRETONE'))
  await of(w, alice).edit(sent.id, 'SECRETTWO')
  await until('what it says now is found', () => found('SECRETTWO'))
  t.notOk(await found('SECRETONE'))
  t.equal((await of(w, alice).recall(sent.id)).status, 202)
  t.notOk(await found('SECRETTWO'), 'at once')
  const words = () => w.store.use((db) => db.select('SELECT words FROM search_entries WHERE id = ?', [sent.id]))
  await until('the words are gone from the index', async () => (await words()).length === 0)
})
