/** Files in messages: who may read them by what a message shows, and what becomes of those that nothing shows any more. */
import t from 'tap'
import { type TestUser, until } from '../src/index.js'
import { filesWorld, png, sendImage, shown } from './files-world.js'

t.test('a message shows only what its sender may read, as it is', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob, eve, zoe] = [await w.user(), await w.user(), await w.user(), await w.user()]
  const file = await w.file(alice)
  const forged = await sendImage(w, eve, { user: zoe.name }, shown(file))
  t.match({ status: forged.status, code: forged.body.code }, { status: 404, code: 'file_not_found' }, 'a foreign file')
  t.equal((await w.read(zoe, file.url)).status, 404)
  t.equal((await w.read(eve, file.url)).status, 404)
  const missing = await sendImage(w, alice, { user: bob.name }, shown(file, { url: `/api/v1/files/${'x'.repeat(22)}` }))
  t.equal(missing.body.code, 'file_not_found')
  for (const [over, pointer] of [
    [{ size: 1 }, '/content/size'],
    [{ mediaType: 'image/jpeg' }, '/content/mediaType'],
    [{ url: 'javascript:alert(1)' }, '/content/url'],
    [{ name: 'a/b' }, '/content/name'],
  ] as const) {
    const reply = await sendImage(w, alice, { user: bob.name }, shown(file, over))
    t.match({ status: reply.status, ...reply.body }, { status: 400, code: 'invalid_content', errors: [{ pointer }] })
  }
  const batch = await w.http<{ results: unknown[] }>('POST', 'messages/batch', {
    token: alice.token,
    body: {
      messages: [
        { to: { user: bob.name }, type: 'file', content: {} },
        { to: { user: bob.name }, type: 'image', content: shown(file) },
        { to: { user: bob.name }, type: 'file', content: shown(file, { url: 'https://example.com/cat.png' }) },
      ],
    },
  })
  t.match(batch.body.results, [{ code: 'invalid_content' }, { seq: 1 }, { seq: 2 }])
  t.equal((await w.read(bob, file.url)).status, 200)

  // Whoever has it may pass it on; over a socket, too.
  const bobs = await bob.connect()
  const content = { ...shown(file), thumbnail: { url: file.url, width: 3, height: 2 } }
  bobs.send({ op: 'send', to: { user: zoe.name }, type: 'image', content, clientId: 'on' })
  await bobs.next('sent')
  t.equal((await w.read(zoe, file.url)).status, 200)
  bobs.send({ op: 'send', to: { user: zoe.name }, type: 'image', content: { url: 7 }, clientId: 'bad' })
  t.match(await bobs.next('error'), { code: 'invalid_content', clientId: 'bad' })
  t.equal((await w.read(eve, file.url)).status, 404)
})

t.test('in a room: members read, whoever left does not, whoever came later reads what the room shows', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob, carol, dave] = [await w.user(), await w.user(), await w.user(), await w.user()]
  const room = async (history: string): Promise<string> => {
    const body = { name: 'a room', history, members: [bob.name, dave.name] }
    return (await w.http<{ id: string }>('POST', 'rooms', { token: alice.token, body })).body.id
  }
  const put = (id: string, user: TestUser) =>
    w.http('PUT', `rooms/${id}/members/${user.name}`, { token: alice.token, body: {} })
  const [joined, all] = [await room('joined'), await room('all')]
  const before = await w.file(alice)
  const open = await w.file(alice)
  t.equal((await sendImage(w, alice, { room: joined }, shown(before))).status, 202)
  t.equal((await sendImage(w, alice, { room: all }, shown(open))).status, 202)
  t.equal((await w.read(bob, before.url)).status, 200)
  t.equal((await w.read(carol, before.url)).status, 404, 'not in the room')
  for (const id of [joined, all]) t.ok((await put(id, carol)).status < 300)
  t.equal((await w.read(carol, before.url)).status, 404, 'what was before the joining')
  t.equal((await w.read(carol, open.url)).status, 200, 'where the room shows it')
  const after = await w.file(bob)
  t.equal((await sendImage(w, bob, { room: joined }, shown(after))).status, 202)
  t.equal((await w.read(carol, after.url)).status, 200)
  await w.http('POST', `rooms/${joined}/leave`, { token: dave.token })
  for (const { url } of [before, after]) t.equal((await w.read(dave, url)).status, 404, 'left')
  const onwards = await sendImage(w, dave, { user: carol.name }, shown(before))
  t.equal(onwards.body.code, 'file_not_found', 'nor passes it on')
  const outsider = await w.file(carol)
  await w.http('POST', `rooms/${joined}/leave`, { token: carol.token })
  const refused = await sendImage(w, carol, { room: joined }, shown(outsider))
  t.ok(refused.status >= 400 && refused.status < 500)
  t.equal((await w.read(bob, outsider.url)).status, 404, 'a send that was refused shows nothing')
})

t.test('an address with a ticket works without a header, as long as its user may read', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const html = await w.file(alice, Buffer.from('<script>alert(1)</script>'), 'text/html')
  const body = { name: 'a room', members: [bob.name] }
  const { id: room } = (await w.http<{ id: string }>('POST', 'rooms', { token: alice.token, body })).body
  await w.http('POST', 'messages', { token: alice.token, body: { to: { room }, type: 'file', content: shown(html) } })
  const ask = (user: TestUser) =>
    w.http<{ url: string; expiresIn: number }>('POST', `files/${html.id}/ticket`, { token: user.token })
  t.equal((await ask(eve)).status, 404)
  const { url, expiresIn } = (await ask(bob)).body
  t.ok(expiresIn > 0 && expiresIn <= 300)
  const reply = await w.read(undefined, url)
  t.equal(reply.status, 200)
  t.match(reply.headers.get('content-disposition'), /^attachment/, 'what could run is for saving')
  t.equal(
    (
      await w.read(
        undefined,
        url.replace(/\.(.)/, (_, first: string) => `.${first === 'A' ? 'B' : 'A'}`),
      )
    ).status,
    401,
  )
  const other = await w.file(alice)
  t.equal((await w.read(undefined, `${other.url}?${url.split('?')[1]}`)).status, 401, 'for another file')
  t.equal((await w.http('GET', 'me', { token: url.split('ticket=')[1]! })).status, 401, 'no token')
  await w.http('POST', `rooms/${room}/leave`, { token: bob.token })
  t.equal((await w.read(undefined, url)).status, 404, 'not any more')
})

t.test(
  'what nobody needs goes: what nothing refers to, what its owner deletes, and what was theirs who are gone',
  async (t) => {
    const w = await filesWorld(t, { env: { TIDINGS_FILE_ORPHAN_S: '1' } })
    const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
    const kept = await w.file(alice)
    t.equal((await sendImage(w, alice, { user: bob.name }, shown(kept))).status, 202)
    const ofCarol = await w.file(carol)
    t.equal((await sendImage(w, carol, { user: bob.name }, shown(ofCarol))).status, 202)
    const mine = await w.file(alice)
    t.equal((await sendImage(w, alice, { user: bob.name }, shown(mine))).status, 202)
    const orphan = await w.file(alice)
    await until('the orphan is gone', async () => (await w.read(alice, orphan.url)).status === 404)
    t.equal((await w.http('DELETE', `files/${mine.id}`, { token: bob.token })).status, 404, 'whose is it?')
    t.equal((await w.http('DELETE', `files/${mine.id}`, { token: alice.token })).status, 204)
    t.equal((await w.read(bob, mine.url)).status, 404, 'at once')
    t.equal((await w.read(bob, ofCarol.url)).status, 200)
    await w.http('DELETE', 'me', { token: carol.token })
    await until('those of the deleted account', async () => (await w.read(bob, ofCarol.url)).status === 404)
    await until('only what is needed lies there', async () => (await w.onDisk()).length === 1)
    t.same(await w.onDisk(), [kept.id])
    const rows = await w.store.use((db) => db.select<{ id: string }>('SELECT id FROM files'))
    t.same(
      rows.map(({ id }) => id),
      [kept.id],
    )
    t.equal((await w.read(bob, kept.url)).status, 200)
  },
)

t.test('what an edit shows can be read at once, also when nothing of it is stored yet', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const [first, second] = [await w.file(alice), await w.file(alice, png(100))]
  // MySQL gets nothing as long as no worker runs.
  await w.stop('task')
  const sent = await sendImage(w, alice, { user: bob.name }, shown(first))
  const { id } = sent.body as unknown as { id: string }
  const edited = await w.http('PATCH', `messages/${id}`, { token: alice.token, body: { content: shown(second) } })
  t.equal(edited.status, 202, edited.text)
  const read = async () => [(await w.read(bob, first.url)).status, (await w.read(bob, second.url)).status]
  t.same(await read(), [404, 200])
  await w.start('task')
  const state = () => w.http<{ state: { stored: boolean } }>('GET', `messages/${id}`, { token: bob.token })
  await until('it is stored', async () => (await state()).body.state?.stored)
  t.same(await read(), [404, 200])
})

t.test('what an edit has replaced goes as what nothing refers to, and what it shows stays', async (t) => {
  const w = await filesWorld(t, { env: { TIDINGS_FILE_ORPHAN_S: '2' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const first = await w.file(alice)
  const sent = await sendImage(w, alice, { user: bob.name }, shown(first))
  const { id } = sent.body as unknown as { id: string }
  const settled = () => w.store.use((db) => db.select('SELECT file FROM file_uses WHERE unproven_since IS NULL'))
  await until('the first is settled', async () => (await settled()).length === 1)
  const second = await w.file(alice, png(100))
  const edited = await w.http('PATCH', `messages/${id}`, { token: alice.token, body: { content: shown(second) } })
  t.equal(edited.status, 202, edited.text)
  await until('the first is gone', async () => (await w.read(alice, first.url)).status === 404)
  await until('its bytes, too', async () => (await w.onDisk()).length === 1)
  t.same(await w.onDisk(), [second.id])
  t.equal((await w.read(bob, second.url)).status, 200)
})

t.test('what an edit shows can be read, and what was replaced or recalled cannot', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const [first, second] = [await w.file(alice), await w.file(alice, png(100))]
  const sent = await sendImage(w, alice, { user: bob.name }, shown(first))
  const { id } = sent.body as unknown as { id: string }
  const change = (method: string, body?: object) =>
    w.http<{ code?: string }>(method, `messages/${id}`, { token: alice.token, ...(body && { body }) })
  const isStored = () => w.http<{ state: { stored: boolean } }>('GET', `messages/${id}`, { token: bob.token })
  await until('it is stored', async () => (await isStored()).body.state.stored)
  const bobs = await w.file(bob, png(50))
  t.match(await change('PATCH', { content: { text: 'no image' } }), { status: 400, body: { code: 'invalid_content' } })
  t.match(await change('PATCH', { content: shown(bobs) }), { status: 404, body: { code: 'file_not_found' } })
  t.equal((await w.read(bob, first.url)).status, 200)
  t.equal((await change('PATCH', { content: shown(second) })).status, 202)
  const read = async () => [(await w.read(bob, first.url)).status, (await w.read(bob, second.url)).status]
  t.same(await read(), [404, 200])
  t.equal((await change('DELETE')).status, 202)
  t.same(await read(), [404, 404])
  await until('nothing refers to them', async () => {
    const rows = await w.store.use((db) => db.select('SELECT file FROM file_uses WHERE message = ?', [id]))
    return rows.length === 0
  })
  t.same(await read(), [404, 404])
  t.equal((await w.read(alice, second.url)).status, 200, 'its owner has it')
})
