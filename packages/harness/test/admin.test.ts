/** What an operator does, on real stores and real sockets. */
import { randomBytes } from 'node:crypto'
import { signedHeaders } from '@tidings/service'
import t from 'tap'
import { operatorOf, TestClient, until, world } from '../src/index.js'

const { env, key, call: operator } = operatorOf()

t.test('processes and partitions are listed; a request is taken once by all api processes together', async (t) => {
  const it = await world(t, { env, count: { api: 2, connect: 2 } })
  const admin = operator(it)
  const alice = await it.user()
  const bob = await it.user()
  await bob.connect({ node: 1 })
  const nodes = await admin<{ nodes: { app: string; instance: string }[]; sessions: number }>('GET', 'admin/nodes')
  t.same(nodes.body.nodes.map(({ instance }) => instance).sort(), [
    'api-1',
    'api-2',
    'connect-1',
    'connect-2',
    'logic-1',
    'task-1',
  ])
  t.equal(nodes.body.sessions, 1)

  await alice.send(bob)
  const partitions = async () => {
    const path = 'admin/partitions'
    const { body } = await admin<{ partitions: Record<string, unknown>[]; owners: boolean }>('GET', path, undefined, 1)
    // The worker of a world does not serve notify.
    return { ...body, partitions: body.partitions.filter(({ group }) => group !== 'notify') }
  }
  await until('the entry is settled, and all partitions have an owner', async () =>
    (await partitions()).partitions.every(
      ({ owner, lag, pending }) => owner === 'task-1' && lag === 0 && pending === 0,
    ),
  )
  const { partitions: rows, owners } = await partitions()
  t.equal(rows.length, 2 * 4)
  t.equal(owners, true)
  t.ok(rows.every(({ oldest, dead, fence }) => oldest === null && dead === 0 && Number(fence) > 0))
  // Nobody works: the oldest entry shows.
  await it.stop('task')
  const { sentAt } = await alice.send(bob)
  await until('two groups are behind', async () => {
    const behind = (await partitions()).partitions.filter(({ lag }) => lag === 1)
    return behind.length === 2 && behind.every(({ oldest }) => Math.abs(Number(oldest) - sentAt) < 10_000)
  })

  const headers = signedHeaders(key, { method: 'GET', target: '/api/v1/admin/nodes', body: '' })
  t.equal((await it.http('GET', 'admin/nodes', { headers, api: 0 })).status, 200)
  t.match(await it.http('GET', 'admin/nodes', { headers, api: 1 }), {
    status: 401,
    body: { code: 'signature_replayed' },
  })
})

t.test('an account is made by a server; the name of a deleted one is never given out again', async (t) => {
  const token = randomBytes(16).toString('hex')
  const it = await world(t, {
    env: { ...env, TIDINGS_SERVICE_TOKENS: `backend:admin:${token}`, TIDINGS_REGISTRATION: 'closed' },
  })
  const admin = operator(it)
  const [one, two, three] = Array.from({ length: 3 }, () => `u${randomBytes(4).toString('hex')}`)
  const make = (id: string, more = {}) => it.http('POST', 'users', { token, body: { id, ...more } })
  t.match(await make(one!, { password: 'correct horse', displayName: 'One' }), {
    status: 201,
    body: { displayName: 'One' },
  })
  t.match(await admin('POST', 'admin/users', { id: two }), { status: 201, body: { id: two, displayName: two } })
  const login = (username: string) => it.http('POST', 'auth/login', { body: { username, password: 'correct horse' } })
  t.equal((await login(one!)).status, 200)
  t.equal((await login(two!)).status, 401, 'without a password nobody signs in')
  t.equal((await it.http('GET', 'me', { token: it.token(two!) })).status, 200, 'but elsewhere')
  t.equal((await make(one!)).status, 409, 'taken')
  t.equal((await it.http('DELETE', `users/${one}`, { token })).status, 204)
  t.equal((await admin('DELETE', `admin/users/${two}`)).status, 204)
  for (const name of [one!, two!]) {
    t.match(await make(name), { status: 409, body: { code: 'username_taken' } }, 'by a server')
    t.match(await admin('POST', 'admin/users', { id: name }), { status: 409 }, 'by an operator')
    t.match(await admin('GET', `admin/users/${name}`), { body: { deletedAt: Number, hasPassword: false } })
  }
  t.equal((await it.http('PUT', `users/${three}/disabled`, { token })).status, 404)
  // Two at once: one of them.
  const both = await Promise.all([make(three!), admin('POST', 'admin/users', { id: three })])
  t.same(both.map(({ status }) => status).sort(), [201, 409])
})

t.test('a message shows where it is, and what each device has of it', async (t) => {
  const it = await world(t, { env, count: { connect: 2 } })
  const admin = operator(it)
  const [alice, bob] = [await it.user(), await it.user()]
  const phone = await bob.connect({ device: 'phone', node: 1 })
  const { id, conversation, seq } = await alice.send(bob, { text: 'where am I' })
  await phone.nextMessage()
  phone.ack(conversation, seq)
  phone.send({ op: 'read', conversation, seq })
  interface Trace {
    message: { content: object }
    place: { streamId: string | null; logged: boolean; stored: boolean }
    groups: { push: boolean; persist: boolean }
    people: { user: string; read: boolean; readAt: number | null; devices: Record<string, unknown>[] }[]
    nodesKnown: boolean
  }
  const trace = async () => (await admin<Trace>('GET', `admin/messages/${id}`)).body
  const bobs = (found: Trace) => found.people.find(({ user }) => user === bob.name)!
  await until('it is stored, read, and written down', async () => {
    const found = await trace()
    const { read, readAt, devices } = bobs(found)
    return found.place.stored && read && readAt !== null && devices.every(({ movedAt }) => movedAt !== null)
  })
  const found = await trace()
  t.match(found, {
    message: { content: { text: 'where am I' } },
    place: { logged: true, stored: true },
    nodesKnown: true,
  })
  t.match(bobs(found).devices, [
    { device: 'phone', cursor: seq, acknowledged: true, movedAt: Number, node: 'connect-2' },
  ])
  t.equal(found.people.length, 2)
  await until('both groups are through', async () => {
    const { push, persist } = (await trace()).groups
    return push && persist
  })
  t.match(await admin('GET', 'admin/messages/1'), { status: 404, body: { code: 'message_not_found' } })
})

t.test('limits hold on every process within a second, and go back', async (t) => {
  const it = await world(t, { env: { ...env, TIDINGS_RATE_LIMITS: 'on' }, count: { api: 2 } })
  const admin = operator(it)
  const [alice, bob] = [await it.user(), await it.user()]
  const inForce = async (api: number) =>
    (await admin<{ inForce: { sendsPerS: number } }>('GET', 'admin/limits', undefined, api)).body.inForce.sendsPerS
  t.equal(await inForce(1), 500)
  const set = { sendsPerS: 1, connectionsPerUser: 1 }
  t.equal((await admin('PUT', 'admin/limits', set)).status, 204)
  for (const api of [0, 1]) await until(`api ${api}`, async () => (await inForce(api)) === 1)
  const sends = await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      it.http('POST', 'messages', { token: alice.token, body: { to: { user: bob.name }, content: {} }, api: i % 2 }),
    ),
  )
  t.ok(
    sends.some(({ status }) => status === 429),
    'the new rate holds',
  )
  const first = await bob.connect({ device: 'one' })
  await until('connect follows', async () => {
    const other = await TestClient.open(`${it.connects[0]!.url}?device=two`, { token: bob.token })
    const refused = await Promise.race([other.closed(), other.next('ready').then(() => 0)])
    other.ws.terminate()
    return refused === 4429
  })
  t.equal(first.closeCode, undefined)
  // A process that starts later holds them too.
  await it.start('api')
  t.equal(await inForce(2), 1)
  t.equal((await admin('DELETE', 'admin/limits')).status, 204)
  for (const api of [0, 1, 2]) await until(`api ${api} is back`, async () => (await inForce(api)) === 500)
})

t.test('a dead letter is listed, put back and stored', async (t) => {
  const it = await world(t, { env: { ...env, TIDINGS_PARTITIONS: '1' } })
  const admin = operator(it)
  const [alice, bob] = [await it.user(), await it.user()]
  const rule = (sql: string) => it.store.use((db) => db.run(sql, []))
  await rule("ALTER TABLE entries ADD CONSTRAINT no_limes CHECK (content NOT LIKE '%lime%')")
  const { id } = await alice.send(bob, { text: 'lime' })
  await alice.send(bob, { text: 'a lime too' })
  interface Letters {
    letters: { group: string; partition: number; id: string; message: string; content?: string }[]
    nextCursor: string | null
  }
  const list = async (query = '') => (await admin<Letters>('GET', `admin/dead${query}`)).body
  await until('two letters', async () => (await list()).letters.length === 2)
  const first = await list('?limit=1&content=true')
  t.match(first.letters, [{ group: 'persist', partition: 0, message: id, content: '{"text":"lime"}' }])
  const second = await list(`?limit=1&cursor=${first.nextCursor}`)
  t.equal(second.letters.length, 1)
  t.not(second.letters[0]!.id, first.letters[0]!.id)
  t.equal(second.nextCursor, null)
  await rule('ALTER TABLE entries DROP CONSTRAINT no_limes')
  const path = (letter: { id: string }) => `admin/dead/0/persist/${letter.id}`
  t.match(await admin('POST', `${path(first.letters[0]!)}/requeue`), { status: 200, body: { entry: String } })
  t.match(await admin('POST', `${path(first.letters[0]!)}/requeue`), { status: 404 })
  t.equal((await admin('DELETE', path(second.letters[0]!))).status, 204)
  t.match(await admin('DELETE', path(second.letters[0]!)), { status: 404, body: { code: 'letter_not_found' } })
  await until('it is stored', async () => {
    const { body } = await it.http<{ state: { stored: boolean } }>('GET', `messages/${id}`, { token: alice.token })
    return body.state?.stored === true
  })
  t.same((await list()).letters, [])
})
