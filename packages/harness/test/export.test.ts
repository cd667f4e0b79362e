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
