/** What a user may do to an account, and what becomes of one that ends: on every edge, within 5 s. */
import { randomBytes } from 'node:crypto'
import { connectLogic, type Logic } from '@tidings/accept'
import { rpcToken } from '@tidings/protocol'
import { connectRegistry } from '@tidings/registry'
import { createLogger } from '@tidings/service'
import t, { type Test } from 'tap'
import { TestClient, type TestUser, until, type World, world } from '../src/index.js'

const WITHIN_MS = 5_000
const service = randomBytes(16).toString('hex')
const w = await world(t, {
  count: { api: 2, connect: 2 },
  env: { TIDINGS_SERVICE_TOKENS: `backend:send+read:${service}` },
})
const name = (): string => `u${randomBytes(4).toString('hex')}`

/** A fact that must come true within the promised time. */
async function soon(t: Test, what: string, fact: () => Promise<boolean>): Promise<void> {
  const began = performance.now()
  await until(what, fact)
  const ms = Math.round(performance.now() - began)
  t.ok(ms < WITHIN_MS, `${what}: within ${ms} ms`)
}

const statusOf = async (token: string, api: number): Promise<string> => {
  const { status, body } = await w.http<{ code?: string }>('GET', 'conversations', { token, api })
  return `${status} ${body.code ?? ''}`
}

/** @returns the code of the answer to a direct message, or 202 */
async function sending(token: string, to: string, { api = 0, from }: { api?: number; from?: string } = {}) {
  const body = { to: { user: to }, content: { text: 'hello' }, ...(from !== undefined && { from }) }
  const reply = await w.http<{ code?: string }>('POST', 'messages', { token, body, api })
  return reply.body.code ?? String(reply.status)
}

/** Connects and is sent away. @returns close code and code of the error frame */
async function refusedSocket(token: string, node: number): Promise<string> {
  const socket = await TestClient.open(w.connects[node]!.url, { token })
  const code = await socket.closed()
  return `${code} ${socket.frames.find(({ op }) => op === 'error')?.code ?? ''}`
}

t.test('a display name is changed by its own user, for all to see', async (t) => {
  const [alice, bob] = [await w.user(), await w.user()]
  await alice.send(bob)
  const changed = await w.http('PATCH', 'me', { token: alice.token, body: { displayName: 'Älice 🌸' } })
  t.match(changed, { status: 200, body: { id: alice.name, displayName: 'Älice 🌸', createdAt: Number } })
  t.match(await w.http('GET', `users/${alice.name}`, { token: bob.token }), { body: changed.body })
  const list = await w.http<{ conversations: object[] }>('GET', 'conversations', { token: bob.token })
  t.match(list.body.conversations, [{ title: 'Älice 🌸' }])
  const bad: unknown[] = [{}, { displayName: '' }, { displayName: ' ' }, { displayName: 'x'.repeat(101) }]
  bad.push({ displayName: 5 }, { displayName: 'a\u202eb' }, { displayName: 'a\nb' }, { displayName: 'x', id: bob.name })
  for (const body of bad) {
    const reply = await w.http('PATCH', 'me', { token: alice.token, body })
    t.match(reply, { status: 400, body: { code: 'invalid_request' } }, JSON.stringify(body))
  }
  t.match(await w.http('PATCH', 'me', { token: service, body: { displayName: 'x' } }), { status: 403 })
  t.match(await w.http('GET', 'me', { token: alice.token }), { body: changed.body }, 'as it was')
})

t.test('a deleted account is refused everywhere, and what was said stays', async (t) => {
  const [alice, bob] = [await w.user(), await w.user()]
  const second = await w.http<{ accessToken: string; refreshToken: string }>('POST', 'auth/login', {
    body: { username: alice.name, password: `password of ${alice.name}`, device: 'tablet' },
  })
  const sockets = [
    await alice.connect({ device: 'phone' }),
    await (await TestClient.open(`${w.connects[1]!.url}?device=tablet`, { token: second.body.accessToken })).synced(),
  ]
  const bystander = await bob.connect({ device: 'phone' })
  await alice.send(bob, { text: 'to be kept' })
  // Permits that both api processes keep, of both directions and of a service in her name.
  for (const api of [0, 1]) {
    t.equal(await sending(bob.token, alice.name, { api }), '202')
    t.equal(await sending(service, bob.name, { api, from: alice.name }), '202')
  }
  const outside = w.token(alice.name)
  t.equal(await statusOf(outside, 1), '200 ')

  t.match(await w.http('DELETE', `me?user=${bob.name}`, { token: alice.token }), { status: 400 }, 'only oneself')
  t.match(await w.http('DELETE', 'me', { token: service }), { status: 403 }, 'a service is nobody')
  t.match(await w.http('DELETE', 'me', { token: alice.token }), { status: 204, text: '' })
  const deletedAt = performance.now()
  for (const socket of sockets) t.equal(await socket.closed(), 4403)
  for (const api of [0, 1]) {
    for (const token of [alice.token, second.body.accessToken])
      await soon(t, 'a session is over', async () => (await statusOf(token, api)) === '401 unauthenticated')
    await soon(t, 'a token made elsewhere is over', async () => (await statusOf(outside, api)) === '403 user_disabled')
    await soon(
      t,
      'nobody writes to it',
      async () => (await sending(bob.token, alice.name, { api })) === 'user_not_found',
    )
    await soon(t, 'no service writes for it', async () => {
      return (await sending(service, bob.name, { api, from: alice.name })) === 'user_disabled'
    })
  }
  t.ok(performance.now() - deletedAt < WITHIN_MS, 'all of it within 5 s')
  for (const node of [0, 1]) {
    t.equal(await refusedSocket(alice.token, node), '4403 user_disabled')
    t.equal(await refusedSocket(outside, node), '4403 user_disabled')
  }
  for (const refreshToken of [alice.refreshToken, second.body.refreshToken])
    t.match(await w.http('POST', 'auth/refresh', { body: { refreshToken } }), { body: { code: 'unauthenticated' } })
  const credentials = { username: alice.name, password: `password of ${alice.name}` }
  t.match(await w.http('POST', 'auth/register', { body: credentials }), { body: { code: 'username_taken' } })
  t.match(await w.http('POST', 'auth/login', { body: credentials }), { body: { code: 'invalid_credentials' } })
  t.match(await w.http('GET', `users/${alice.name}`, { token: bob.token }), { body: { code: 'user_not_found' } })

  t.equal(bystander.closeCode, undefined, 'nobody else lost a socket')
  const conversation = bystander.messages()[0]!.conversation
  const history = await w.http<{ messages: { content: object; from: string }[] }>(
    'GET',
    `conversations/${conversation}/messages`,
    { token: bob.token },
  )
  t.match(history.body.messages[0], { from: alice.name, content: { text: 'to be kept' } })
  const list = await w.http<{ conversations: object[] }>('GET', 'conversations', { token: bob.token })
  t.match(list.body.conversations, [{ id: conversation, title: 'Deleted user' }])
})

t.test('a user of an outside provider deletes the account with a token that has no session', async (t) => {
  const alice = name()
  const token = w.token(alice)
  const sockets = await Promise.all(
    [0, 1].map(async (node) => (await TestClient.open(`${w.connects[node]!.url}?device=d${node}`, { token })).synced()),
  )
  for (const api of [0, 1]) t.equal(await statusOf(token, api), '200 ')
  t.match(await w.http('DELETE', 'me', { token }), { status: 204 })
  for (const socket of sockets) t.equal(await socket.closed(), 4403)
  for (const api of [0, 1])
    await soon(t, 'refused by api', async () => (await statusOf(token, api)) === '403 user_disabled')
  for (const node of [0, 1]) t.equal(await refusedSocket(w.token(alice, { jti: 'fresh' }), node), '4403 user_disabled')
})

t.test('a token of a team’s own backend that names a session of its own is like any other of it', async (t) => {
  const [alice, bob] = [name(), await w.user()]
  const token = w.token(alice, { sid: 'backend-1' })
  for (const api of [0, 1]) t.equal(await statusOf(token, api), '200 ')
  t.equal(await sending(bob.token, alice), '202', 'the user is there')
  t.equal((await w.http('DELETE', 'me', { token })).status, 204)
  for (const api of [0, 1]) await soon(t, 'refused', async () => (await statusOf(token, api)) === '403 user_disabled')
  for (const node of [0, 1]) t.equal(await refusedSocket(token, node), '4403 user_disabled')
})

t.test('a user who is disabled is out within 5 s, and may sign in again when that is over', async (t) => {
  const logic = await logicOf(t, w)
  const [mallory, bob] = [await w.user(), await w.user()]
  const socket = await mallory.connect({ node: 1 })
  const outside = w.token(mallory.name)
  for (const api of [0, 1]) t.equal(await statusOf(outside, api), '200 ')
  t.equal(await sending(mallory.token, bob.name), '202')
  await logic.client.setUserDisabled({ user: mallory.name, disabled: true })
  t.equal(await socket.closed(), 4403)
  for (const api of [0, 1]) {
    await soon(t, 'the session is over', async () => (await statusOf(mallory.token, api)) === '401 unauthenticated')
    await soon(t, 'others too', async () => (await statusOf(outside, api)) === '403 user_disabled')
    await soon(t, 'no service writes for them', async () => {
      return (await sending(service, bob.name, { api, from: mallory.name })) === 'user_disabled'
    })
  }
  for (const token of [mallory.token, outside])
    t.equal(await refusedSocket(token, 1), '4403 user_disabled', 'no new token would help')
  t.equal(await sending(bob.token, mallory.name), '202', 'they can be written to')
  t.match(await loginOf(mallory), { body: { code: 'user_disabled' } })
  await logic.client.setUserDisabled({ user: mallory.name, disabled: false })
  const again = await loginOf(mallory)
  t.equal(again.status, 200)
  t.equal(await statusOf(outside, 1), '200 ', 'at once')
  t.equal(await statusOf(mallory.token, 0), '401 unauthenticated', 'what was ended stays ended')
  t.equal(await refusedSocket(mallory.token, 1), '4401 unauthenticated')
  const back = await TestClient.open(w.connects[1]!.url, { token: again.body.accessToken })
  await back.synced()
  // The second time is told like the first.
  await logic.client.setUserDisabled({ user: mallory.name, disabled: true })
  t.equal(await back.closed(), 4403)
  await t.rejects(logic.client.setUserDisabled({ user: name(), disabled: true }), { code: 'user_not_found' })
  await t.rejects(logic.client.setUserDisabled({ user: 'a b', disabled: true }), { code: 'invalid_request' })
})

t.test('a blocked user cannot write to whoever blocked them, by no way in, and others can', async (t) => {
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const path = (user: TestUser | string) => `blocks/${typeof user === 'string' ? user : user.name}`
  const change = async (method: string, user: TestUser | string, token = alice.token) => {
    const reply = await w.http<{ code?: string }>(method, path(user), { token })
    return reply.body.code ?? String(reply.status)
  }
  const sockets = [await bob.connect({ device: 'a', node: 0 }), await bob.connect({ device: 'b', node: 1 })]
  const bySocket = async (node: number): Promise<unknown> => {
    const clientId = `c-${randomBytes(4).toString('hex')}`
    sockets[node]!.send({ op: 'send', to: { user: alice.name }, content: {}, clientId })
    await sockets[node]!.until('an answer', () => sockets[node]!.frames.some((frame) => frame.clientId === clientId))
    const answer = sockets[node]!.frames.find((frame) => frame.clientId === clientId)!
    return answer.op === 'error' ? answer.code : answer.op
  }
  // Permits are kept by all four edges.
  for (const at of [0, 1]) {
    t.equal(await sending(bob.token, alice.name, { api: at }), '202')
    t.equal(await bySocket(at), 'sent')
  }
  const head = Number(await w.redis.get(w.keys.seq(sockets[0]!.messages()[0]!.conversation)))
  for (let round = 0; round < 2; round++) {
    t.equal(await change('PUT', bob), '204')
    t.equal(await change('PUT', bob), '204', 'once more')
    for (const at of [0, 1]) {
      await soon(t, 'refused over HTTP', async () => (await sending(bob.token, alice.name, { api: at })) === 'blocked')
      await soon(t, 'and over a socket', async () => (await bySocket(at)) === 'blocked')
      await soon(t, 'and by a service', async () => {
        return (await sending(service, alice.name, { api: at, from: bob.name })) === 'blocked'
      })
    }
    const batch = { messages: [alice, carol].map(({ name }) => ({ to: { user: name }, content: {} })) }
    t.match(await w.http('POST', 'messages/batch', { token: bob.token, body: batch }), {
      body: { results: [{ code: 'blocked', status: 403 }, { seq: Number }] },
    })
    t.equal(await sending(alice.token, bob.name), '202', 'the other direction stays open')
    t.equal(await sending(carol.token, alice.name), '202', 'others may write')
    t.equal(await sending(bob.token, bob.name), '202', 'and the blocked one to others')
    t.equal(await change('DELETE', bob), '204')
    t.equal(await change('DELETE', bob), '204', 'once more')
    for (const at of [0, 1]) t.equal(await sending(bob.token, alice.name, { api: at }), '202', 'at once')
  }
  t.ok(head > 0)
})

t.test('blocks are listed in pages, for their own user only; what cannot be blocked', async (t) => {
  const [alice, mallory] = [await w.user(), await w.user()]
  const users = (await Promise.all([w.user(), w.user(), w.user(), w.user(), w.user()])).map(({ name }) => name).sort()
  for (const user of users) await w.http('PUT', `blocks/${user}`, { token: alice.token })
  const found: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const query: string = cursor === '' ? 'blocks?limit=2' : `blocks?limit=2&cursor=${cursor}`
    const { body } = await w.http<{ users: string[]; nextCursor: string | null }>('GET', query, { token: alice.token })
    t.ok(body.users.length <= 2)
    found.push(...body.users)
    cursor = body.nextCursor
  }
  t.same(found, users)
  t.same((await w.http('GET', 'blocks', { token: mallory.token })).body, { users: [], nextCursor: null })
  await w.http('DELETE', `blocks/${users[0]}`, { token: mallory.token })
  const { body } = await w.http<{ users: string[] }>('GET', 'blocks', { token: alice.token })
  t.same(body.users, users, 'another’s blocks are not touched')
  const bad: [string, string, string][] = [
    ['PUT', alice.name, 'invalid_request'],
    ['PUT', name(), 'user_not_found'],
    ['DELETE', name(), 'user_not_found'],
    ['PUT', 'a%3Ab', 'user_not_found'],
  ]
  for (const [method, user, code] of bad)
    t.match(await w.http(method, `blocks/${user}`, { token: alice.token }), { body: { code } }, `${method} ${user}`)
  const gone = await w.user()
  t.match(await w.http('PUT', `blocks/${gone.name}`, { token: alice.token }), { status: 204 })
  await w.http('DELETE', 'me', { token: gone.token })
  t.match(await w.http('PUT', `blocks/${gone.name}`, { token: alice.token }), { body: { code: 'user_not_found' } })
  t.match(
    await w.http('DELETE', `blocks/${gone.name}`, { token: alice.token }),
    { status: 204 },
    'it can be taken back',
  )
})

const loginOf = (user: TestUser) =>
  w.http<{ accessToken: string; code?: string }>('POST', 'auth/login', {
    body: { username: user.name, password: `password of ${user.name}` },
  })

/** What an operator's call will use. */
async function logicOf(t: Test, { env }: World): Promise<Logic> {
  const registry = await connectRegistry({
    urls: [env.TIDINGS_ETCD_URL!],
    namespace: env.TIDINGS_NAMESPACE!,
    leaseSeconds: 10,
    log: createLogger({ app: 'test', instance: 'test', level: 'silent' }),
  })
  const logic = await connectLogic(registry, rpcToken(env.TIDINGS_JWT_SECRET!))
  t.teardown(async () => {
    logic.close()
    await registry.stop()
  })
  await until('logic is listed', async () => logic.check().then(Boolean.bind(null, true), () => false))
  return logic
}
