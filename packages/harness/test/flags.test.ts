/** What people set for their conversations: for themselves alone, and for all their devices. */
import t from 'tap'
import { type TestUser, until, type World, world } from '../src/index.js'

interface View {
  id: string
  muted: boolean
  mutedUntil: number | null
  pinned: boolean
}

async function listed(w: World, user: TestUser, query = ''): Promise<View[]> {
  const reply = await w.http<{ conversations: View[] }>('GET', `conversations${query}`, { token: user.token })
  return reply.body.conversations
}

t.test('muting and pinning is shown to whoever did it, and the order stays', async (t) => {
  const w = await world(t)
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const { conversation: withBob } = await bob.send(alice)
  const { conversation: withCarol } = await carol.send(alice)
  const set = (user: TestUser, id: string, body: object) =>
    w.http('PATCH', `conversations/${id}`, { token: user.token, body })
  await until('both are there', async () => (await listed(w, alice)).length === 2)
  t.match(await set(alice, withBob, { muted: true, pinned: true }), {
    status: 200,
    body: { id: withBob, muted: true, mutedUntil: null, pinned: true },
  })
  const none = { muted: false, mutedUntil: null, pinned: false }
  t.match(await listed(w, alice), [
    { id: withCarol, ...none },
    { id: withBob, muted: true, mutedUntil: null, pinned: true },
  ])
  t.match(await listed(w, bob), [{ id: withBob, ...none }], 'bob sees nothing of it')
  t.same(
    (await listed(w, alice, '?pinned=true')).map(({ id }) => id),
    [withBob],
  )
  t.same(
    (await listed(w, alice, '?pinned=false')).map(({ id }) => id),
    [withCarol],
  )
  const mutedUntil = Date.now() + 3_600_000
  t.match((await set(alice, withBob, { mutedUntil })).body, { muted: true, mutedUntil, pinned: true }, 'the rest stays')
  t.match((await set(alice, withBob, { muted: false })).body, { ...none, pinned: true })
  await set(alice, withBob, { mutedUntil: 1 })
  t.match((await listed(w, alice))[1], { muted: false, mutedUntil: null }, 'what is over is no muting')
})

t.test('only of a conversation that one is in', async (t) => {
  const w = await world(t)
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const { conversation } = await alice.send(bob)
  const body = { pinned: true }
  const code = async (user: TestUser, id: string) => {
    const reply = await w.http('PATCH', `conversations/${id}`, { token: user.token, body })
    return [reply.status, reply.body.code]
  }
  const notFound = [404, 'conversation_not_found']
  t.same(await code(eve, conversation), notFound)
  t.same(await code(eve, 'dm:nonsense'), notFound)
  t.same(await code(alice, `dm:${[alice.name, 'nobody-at-all'].sort().join(':')}`), notFound)
  const room = await w.http<{ id: string }>('POST', 'rooms', {
    token: alice.token,
    body: { name: 'ours', members: [bob.name] },
  })
  const id = `room:${room.body.id}`
  t.same(await code(eve, id), notFound)
  t.same(await code(bob, id), [200, undefined])
  await w.http('POST', `rooms/${room.body.id}/leave`, { token: bob.token })
  t.same(await code(bob, id), notFound, 'who has left')
  await w.http('DELETE', 'me', { token: bob.token })
  const rows = await w.store.use((db) => db.select('SELECT * FROM conversation_flags WHERE user = ?', [bob.name]))
  t.same(rows, [], 'a deleted account has none')
})
