/** What people may take along: their own, and of others only what they may read. */
import t from 'tap'
import { type TestUser, until, type World, world } from '../src/index.js'

async function exported(w: World, user: TestUser, query = ''): Promise<{ kind: string; [name: string]: unknown }[]> {
  const reply = await w.http('GET', `me/export${query}`, { token: user.token })
  if (reply.status !== 200) throw new Error(`exporting: ${reply.status} ${reply.text}`)
  return reply.text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}

t.test('everything of mine, page by page, and nothing of a conversation that I am not in', async (t) => {
  const w = await world(t, { count: { api: 2 } })
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const phone = await alice.connect({ device: 'phone' })
  for (let i = 0; i < 250; i++) await alice.send(bob, { text: `a ${i}` })
  const { conversation } = await bob.send(alice, { text: 'from bob' })
  await bob.send(eve, { text: 'between bob and eve' })
  await w.http('PUT', `blocks/${eve.name}`, { token: alice.token })
  const body = { name: 'a room', members: [bob.name] }
  const room = (await w.http<{ id: string }>('POST', 'rooms', { token: alice.token, body })).body.id
  await w.http('PATCH', `conversations/${conversation}`, { token: alice.token, body: { muted: true } })
  await phone.until('all', () => phone.seqs(conversation).length === 251)
  await until('the device is written down', async () =>
    (await exported(w, alice)).some(({ kind, device }) => kind === 'device' && device === 'phone'),
  )
  const mine = await exported(w, alice)
  t.match(mine[0], { kind: 'user', user: { id: alice.name } })
  t.match(mine.at(-1), { kind: 'end', lines: mine.length - 1 })
  const of = (lines: typeof mine, kind: string) => lines.filter((one) => one.kind === kind)
  t.equal(of(mine, 'session').length, 1)
  t.match(of(mine, 'block'), [{ user: eve.name }])
  t.match(of(mine, 'conversation'), [
    { conversation: { id: conversation, muted: true, head: 251 } },
    { conversation: { id: `room:${room}` } },
  ])
  t.match(of(mine, 'room'), [{ room: { id: room, role: 'owner' } }])
  const messages = of(mine, 'message').map(({ message }) => message as { from: string; content: { text?: string } })
  t.ok(messages.every(({ from }) => from === alice.name))
  t.equal(messages.filter(({ content }) => content.text?.startsWith('a ')).length, 250)
  const all = JSON.stringify(await exported(w, alice, '?all=1'))
  t.match(all, 'from bob')
  t.notMatch(all, 'between bob and eve')
  t.notMatch(all, /\$argon2|refreshToken/)
  const eves = await exported(w, eve, '?all=1')
  t.match(of(eves, 'message'), [{ message: { from: bob.name } }])
  t.equal((await w.http('GET', 'me/export')).status, 401)
})

t.test('one at a time over all api processes, and the next one when it has ended', async (t) => {
  const w = await world(t, { count: { api: 2 } })
  const alice = await w.user()
  await w.redis.set(w.keys.export(alice.name), 'another one', 'PX', 60_000)
  const refused = await w.http('GET', 'me/export', { token: alice.token, api: 1 })
  t.match(refused, { status: 429, body: { code: 'rate_limited' } })
  t.ok(Number(refused.headers.get('retry-after')) > 0)
  await w.redis.del(w.keys.export(alice.name))
  t.match((await exported(w, alice)).at(-1), { kind: 'end' })
  await until('it is free again', async () => (await w.redis.exists(w.keys.export(alice.name))) === 0)
})

t.test('what I said in rooms that I have left, and nothing that others said there', async (t) => {
  const w = await world(t)
  const [alice, bob, eve] = [await w.user('alice'), await w.user('bob'), await w.user('eve')]
  type Line = { kind: string; left?: { conversation: string; leftAt: number }; message?: Record<string, unknown> }
  const linesOf = async (user: TestUser, query = '') => (await exported(w, user, query)) as unknown as Line[]
  const room = async (name: string): Promise<string> => {
    const body = { name, members: ['alice', 'bob'] }
    return (await w.http<{ id: string }>('POST', 'rooms', { token: eve.token, body })).body.id
  }
  const say = async (user: TestUser, id: string, text: string): Promise<string> => {
    const body = { to: { room: id }, content: { text } }
    const reply = await w.http<{ id: string }>('POST', 'messages', { token: user.token, body })
    if (reply.status !== 202) throw new Error(`${reply.status} ${reply.text}`)
    return reply.body.id
  }
  const did = async (method: string, path: string, user: TestUser, body?: object): Promise<void> => {
    const reply = await w.http(method, path, { token: user.token, ...(body && { body }) })
    if (reply.status >= 300) throw new Error(`${method} ${path}: ${reply.status} ${reply.text}`)
  }
  const [left, removed, back, ended] = [
    await room('left'),
    await room('removed'),
    await room('back'),
    await room('ended'),
  ]
  const first = await say(alice, left, 'mine 0')
  await say(bob, left, 'a secret of bob’s')
  for (let i = 1; i < 210; i++) await say(alice, left, `mine ${i}`)
  const gone = await say(alice, left, 'taken back')
  await did('DELETE', `messages/${gone}`, alice)
  await did('POST', `rooms/${left}/leave`, alice)
  await did('PUT', `messages/${first}/reactions/${encodeURIComponent('👍')}`, bob)
  await say(alice, removed, 'before I was removed')
  await did('DELETE', `rooms/${removed}/members/alice`, eve)
  await say(alice, back, 'in my first time')
  await did('POST', `rooms/${back}/leave`, alice)
  await say(bob, back, 'while I was away')
  await did('POST', `rooms/${back}/members`, eve, { users: ['alice'] })
  await say(alice, back, 'in my second time')
  await say(alice, ended, 'before the end')
  await did('DELETE', `rooms/${ended}`, eve)
  await did('POST', `rooms/${removed}/leave`, bob)

  const mine = await linesOf(alice, '?all=1')
  t.match(mine.at(-1), { kind: 'end', lines: mine.length - 1 })
  t.same(
    mine.flatMap((one) => (one.left ? [one.left.conversation] : [])),
    [left, removed, back, ended].map((id) => `room:${id}`).sort(),
  )
  t.ok(mine.every(({ left: one }) => !one || Math.abs(Date.now() - one.leftAt) < 120_000))
  const said = (id: string) =>
    mine.flatMap(({ message }) =>
      message?.conversation === `room:${id}` && message.type !== 'system' ? [message] : [],
    )
  const texts = (id: string) => said(id).map(({ content }) => (content as { text: string } | undefined)?.text)
  t.same(
    texts(left).slice(0, 210),
    Array.from({ length: 210 }, (_, i) => `mine ${i}`),
  )
  t.match(said(left)[210], { type: 'recalled' })
  t.equal(said(left)[0]!.reactions, undefined, 'what others made of it after I had left')
  t.same(texts(removed), ['before I was removed'])
  t.same(texts(ended), ['before the end'])
  t.same(
    texts(back).sort(),
    ['in my first time', 'in my second time'],
    'each once, though I may not read the first time any more',
  )
  const text = JSON.stringify(mine)
  t.notMatch(text, /secret of bob|while I was away/)

  const bobs = JSON.stringify((await linesOf(bob)).filter(({ left: one, message }) => one || message))
  t.match(bobs, removed, 'bob’s own')
  t.notMatch(bobs, /mine 0|before I was removed/, 'nothing of alice’s')
  const strangers = await linesOf(await w.user('mallory'), '?all=1')
  t.same(
    strangers.map(({ kind }) => kind).filter((kind) => kind === 'left' || kind === 'message'),
    [],
  )

  // Of the account that goes, this goes too.
  const rows = (user: string) =>
    w.store.use((db) => db.select<{ user: string }>('SELECT user FROM left_rooms WHERE user = ?', [user]))
  t.ok((await rows('alice')).length >= 3)
  await did('DELETE', 'me', alice)
  t.same(await rows('alice'), [])
  t.ok((await rows('bob')).length > 0)
})
