/** Sessions that an operator ends: on whichever node they are, and only those. */
import t from 'tap'
import { operatorOf, TestClient, until, world } from '../src/index.js'

const { env, call: operator } = operatorOf()

interface Sessions {
  sessions: { session: string; device: string; node: string }[]
  signIns: { id: string; device: string }[]
}

t.test('a session is kicked on the node that holds it, with its sign-in; others stay', async (t) => {
  const it = await world(t, { env, count: { connect: 2 } })
  const admin = operator(it)
  const [alice, bob] = [await it.user(), await it.user()]
  const second = await it.http<{ accessToken: string; refreshToken: string }>('POST', 'auth/login', {
    body: { username: alice.name, password: `password of ${alice.name}`, device: 'phone' },
  })
  const laptop = await alice.connect({ device: 'laptop', node: 0 })
  const phone = await TestClient.open(`${it.connects[1]!.url}?device=phone`, { token: second.body.accessToken })
  await phone.synced()
  const bobs = await bob.connect({ node: 1 })
  const listed = async () => (await admin<Sessions>('GET', `admin/sessions?user=${alice.name}`)).body
  const { sessions, signIns } = await listed()
  t.same(sessions.map(({ device, node }) => `${device} ${node}`).sort(), ['laptop connect-1', 'phone connect-2'])
  t.equal(signIns.length, 2)

  const { session } = sessions.find(({ device }) => device === 'phone')!
  const path = `admin/sessions/${alice.name}/${session}`
  t.match(await admin('DELETE', `admin/sessions/${bob.name}/${session}`), { status: 404 }, 'of another user')
  t.equal((await admin('DELETE', path)).status, 204)
  t.equal(await phone.closed(), 4410)
  await until(
    'its token is refused',
    async () => (await it.http('GET', 'me', { token: second.body.accessToken })).status === 401,
  )
  const { refreshToken } = second.body
  t.match(await it.http('POST', 'auth/refresh', { body: { refreshToken } }), { status: 401 })
  await until('it is listed no more', async () => (await listed()).sessions.length === 1)
  t.match(await admin('DELETE', path), { status: 404, body: { code: 'session_not_found' } })
  await bob.send(alice)
  t.match(await laptop.nextMessage(), { from: bob.name }, 'the other session goes on')

  const [left] = (await listed()).signIns
  t.equal((await admin('DELETE', `admin/sessions/${alice.name}/${left!.id}`)).status, 204, 'a sign-in by its id')
  t.equal(await laptop.closed(), 4410)
  t.equal(bobs.closeCode, undefined)
})

t.test('whoever polls is kicked too, and so is all that a user has; a token made elsewhere comes back', async (t) => {
  const it = await world(t, { env, count: { connect: 2 } })
  const admin = operator(it)
  const alice = await it.user()
  const outside = it.token(alice.name)
  const socket = await TestClient.open(`${it.connects[0]!.url}?device=tv`, { token: outside })
  await socket.synced()
  const url = `${it.connects[1]!.url.replace('ws:', 'http:').replace('/ws', '/longpoll')}?device=old`
  const poll = (timeout: number) =>
    fetch(`${url}&timeout=${timeout}`, { headers: { authorization: `Bearer ${alice.token}` } })
  t.equal((await poll(0)).status, 200)
  const waiting = poll(20)
  const listed = async () => (await admin<Sessions>('GET', `admin/sessions?user=${alice.name}`)).body.sessions
  await until('both are listed', async () => (await listed()).length === 2)
  const began = performance.now()
  t.equal((await admin('DELETE', `admin/sessions/${alice.name}`)).status, 204)
  const answer = await waiting
  t.match({ status: answer.status, body: await answer.json() }, { status: 401, body: { code: 'unauthenticated' } })
  t.equal(await socket.closed(), 4410)
  t.ok(performance.now() - began < 5_000)
  await until('its token is refused', async () => (await it.http('GET', 'me', { token: alice.token })).status === 401)
  const again = await TestClient.open(`${it.connects[0]!.url}?device=tv`, { token: outside })
  await again.synced()
  t.equal((await admin('PUT', `admin/users/${alice.name}/disabled`)).status, 204)
  t.equal(await again.closed(), 4403, 'that is what disabling is for')
  t.match(await admin('GET', `admin/users/${alice.name}`), {
    body: { disabledAt: Number, deletedAt: null, hasPassword: true },
  })
  t.equal((await admin('DELETE', `admin/users/${alice.name}/disabled`)).status, 204)
  await until('may act again', async () => (await it.http('GET', 'me', { token: outside })).status === 200)
})
