/** Rate limits over HTTP and WebSockets, by several processes on one Redis. */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { operatorOf, TestClient, until, type World, world } from '../src/index.js'

const service = randomBytes(16).toString('hex')
const ON = {
  TIDINGS_RATE_LIMITS: 'on',
  TIDINGS_SERVICE_TOKENS: `backend:send+read:${service}`,
  TIDINGS_REGISTERS_PER_MIN: '1000',
}

/** @returns status and Retry-After */
async function sending(w: World, token: string, to: string, api: number, from?: string): Promise<string> {
  const body = { to: { user: to }, content: {}, ...(from !== undefined && { from }) }
  const { status, headers } = await w.http('POST', 'messages', { token, body, api })
  return `${status} ${headers.get('retry-after') ?? ''}`.trim()
}

t.test('what a user sends is limited over all api processes, and nobody else’s', async (t) => {
  const w = await world(t, { count: { api: 2 }, env: { ...ON, TIDINGS_SENDS_PER_S: '2', TIDINGS_CALLS_PER_S: '50' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const began = performance.now()
  let accepted = 0
  for (let i = 0; i < 60; i++) if ((await sending(w, alice.token, bob.name, i % 2)) === '202') accepted++
  const seconds = (performance.now() - began) / 1_000
  t.ok(accepted >= 4, `${accepted} were accepted, the burst at least`)
  // Asked in turn, each process knows all but the newest of the other: without Redis it would be two bursts.
  t.ok(accepted <= 4 + 2 + 2 * seconds, 'and hardly more')
  // On a slow machine a token may have come back meanwhile.
  for (const api of [0, 1])
    await until('refused, with Retry-After', async () => /^429 \d+$/.test(await sending(w, alice.token, bob.name, api)))
  t.equal(await sending(w, bob.token, alice.name, 0), '202', 'another user')
  t.equal((await w.http('GET', 'me', { token: alice.token })).status, 200, 'and other calls')
  for (let i = 0; i < 30; i++) t.equal(await sending(w, service, bob.name, i % 2, alice.name), '202', 'a service')
  await until('again', async () => (await sending(w, alice.token, bob.name, 0)) === '202')
})

t.test('what a user sends over its sockets is limited together with what it sends over HTTP', async (t) => {
  const w = await world(t, { count: { connect: 2 }, env: { ...ON, TIDINGS_SENDS_PER_S: '2' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const sockets = await Promise.all([0, 1].map((node) => alice.connect({ node, device: `d${node}` })))
  const to = { user: bob.name }
  const began = performance.now()
  const answers: { op: string; code?: string; clientId?: string; retryAfter?: number }[] = []
  for (let i = 0; i < 30; i++) {
    const socket = sockets[i % 2]!
    const clientId = `c-${i}`
    socket.send({ op: 'send', to, content: {}, clientId })
    const isMine = (frame: Record<string, unknown>): boolean =>
      frame.clientId === clientId && (frame.op === 'sent' || frame.op === 'error')
    await socket.until('it is answered', () => socket.frames.some(isMine))
    answers.push(socket.frames.find(isMine) as (typeof answers)[number])
  }
  const seconds = (performance.now() - began) / 1_000
  const accepted = answers.filter(({ op }) => op === 'sent').length
  t.ok(accepted >= 4 && accepted <= 4 + 2 + 2 * seconds, `${accepted} were accepted in ${seconds} s`)
  for (const { code, retryAfter } of answers.filter(({ op }) => op === 'error'))
    t.ok(code === 'rate_limited' && Number.isInteger(retryAfter) && retryAfter! >= 1, 'the others are told when')
  await until('so over HTTP', async () => /^429 \d+$/.test(await sending(w, alice.token, bob.name, 0)))
  for (const socket of sockets) {
    socket.send({ op: 'ping' })
    t.match(await socket.next('pong'), { op: 'pong' }, 'the sessions go on')
  }
})

t.test('who says far too much at once over one socket is told when to go on; only a flood is cut', async (t) => {
  const operator = operatorOf()
  const w = await world(t, { env: { ...ON, ...operator.env, TIDINGS_SENDS_PER_S: '5' } })
  const bob = await w.user()
  /** An outbox that is sent again all at once. @returns the socket, and what each message was answered */
  const resend = async (messages: number) => {
    const socket = await (await w.user()).connect()
    const answers = () => socket.frames.filter(({ op, ref }) => op === 'sent' || (op === 'error' && ref === 'send'))
    for (let i = 0; i < messages; i++)
      socket.send({ op: 'send', to: { user: bob.name }, content: { text: `${i}` }, clientId: `c-${i}` })
    await socket.until('all are answered', () => socket.closeCode !== undefined || answers().length === messages)
    return { socket, answers: answers() }
  }
  const { socket, answers } = await resend(700)
  t.equal(new Set(answers.map(({ clientId }) => clientId)).size, 700, 'each is answered')
  const refused = answers.filter(({ op }) => op === 'error')
  t.ok(refused.length > 500 && refused.length <= 690, `${refused.length} of them with an error`)
  for (const { code, retryAfter } of refused)
    if (code !== 'rate_limited' || !(Number(retryAfter) >= 1)) t.fail(`${code} ${retryAfter}`)
  socket.send({ op: 'ping' })
  t.match(await socket.next('pong'), { op: 'pong' }, 'the session goes on')
  for (let i = 0; i < 20_000; i++) socket.send({ op: 'send', to: { user: bob.name }, content: {}, clientId: `f-${i}` })
  t.equal(await socket.closed(), 4429, 'a flood')

  t.equal((await operator.call(w)('PUT', 'admin/limits', { sendsPerS: 1_000 })).status, 204)
  await until('the raised limit holds for one socket, too', async () => {
    const raised = await resend(700)
    await raised.socket.close()
    return raised.answers.filter(({ op }) => op === 'sent').length === 700
  })
})

t.test('failed logins make the next one wait, on every api process, and a right one comes through', async (t) => {
  const env = { ...ON, TIDINGS_LOGINS_PER_MIN: '10000', TIDINGS_ADDRESS_CALLS_PER_S: '1000' }
  const w = await world(t, { count: { api: 2 }, env })
  const [alice, bob] = [await w.user(), await w.user()]
  const login = async (username: string, password: string, api = 0): Promise<string> => {
    const reply = await w.http('POST', 'auth/login', { body: { username, password }, api })
    return `${reply.status} ${reply.headers.get('retry-after') ?? ''}`.trim()
  }
  for (let i = 0; i < 11; i++) t.equal(await login(alice.name, 'not the password', i % 2), '401', `failure ${i + 1}`)
  const right = `password of ${alice.name}`
  for (const api of [0, 1]) t.equal(await login(alice.name, right, api), '429 1', 'a second')
  t.equal(await login(bob.name, `password of ${bob.name}`), '200', 'another name')
  await until('the second is over', async () => (await login(alice.name, right)) === '200')
  for (let i = 0; i < 3; i++) t.equal(await login(alice.name, 'not the password'), '401', 'forgiven')
  const record = w.keys.tries('name', bob.name)
  await w.redis.hset(record, 'tries', 1_000)
  t.equal(await login(bob.name, 'not the password'), '401')
  const [, wait] = (await login(bob.name, 'not the password')).split(' ')
  t.ok(Number(wait) > 50 && Number(wait) <= 60, `never longer than a minute: ${wait} s`)
})

t.test(
  'calls without a token, logins and accounts are limited by address, which only a trusted proxy may tell',
  async (t) => {
    const env = {
      ...ON,
      ...{ TIDINGS_ADDRESS_CALLS_PER_S: '1', TIDINGS_LOGINS_PER_MIN: '1', TIDINGS_REGISTERS_PER_MIN: '1' },
      TIDINGS_TRUST_PROXY: '127.0.0.1/32',
    }
    const w = await world(t, { env })
    const from = (address: string) => ({ 'x-forwarded-for': address })
    const body = { username: 'somebody', password: 'correct horse' }
    const status = async (path: string, address: string) =>
      (await w.http(path === 'me' ? 'GET' : 'POST', path, { headers: from(address), ...(path !== 'me' && { body }) }))
        .status
    t.equal(await status('auth/register', '10.0.0.1'), 201)
    t.equal(await status('auth/register', '10.0.0.1'), 429)
    t.equal(await status('auth/login', '10.0.0.2'), 200)
    t.equal(await status('auth/login', '10.0.0.2'), 429)
    t.equal(await status('auth/login', '10.0.0.3'), 200, 'another address')
    const strange: number[] = []
    for (let i = 0; i < 6; i++) strange.push(await status('me', '10.0.0.4'))
    t.ok(strange[0] === 401 && strange.includes(429))
    t.equal(
      (await w.http('GET', 'me', { token: w.token('minted'), headers: from('10.0.0.4') })).status,
      200,
      'with a token',
    )
    await w.start('api', { TIDINGS_TRUST_PROXY: '192.0.2.0/24' })
    const told: number[] = []
    for (let i = 0; i < 6; i++) told.push((await w.http('GET', 'me', { api: 1, headers: from(`10.1.0.${i}`) })).status)
    t.ok(told.includes(429), 'whoever is not trusted cannot choose an address')
  },
)

for (const transport of ['uws', 'ws']) {
  t.test(`connections of a user and of an address are limited on a node, on ${transport}`, async (t) => {
    const env = {
      ...ON,
      ...{ TIDINGS_CONNECTIONS_PER_USER: '2', TIDINGS_CONNECTIONS_PER_ADDRESS: '3' },
      ...{ TIDINGS_TRUST_PROXY: '127.0.0.1/32', TIDINGS_CONNECT_TRANSPORT: transport },
    }
    const w = await world(t, { env })
    const open = (user: string, device: string, address: string) =>
      TestClient.open(`${w.connects[0]!.url}?device=${device}`, {
        token: w.token(user),
        headers: { 'x-forwarded-for': address },
      })
    const refused = async (socket: TestClient) => {
      t.equal(await socket.closed(), 4429)
      t.match(socket.frames[0], { op: 'error', code: 'rate_limited' })
    }
    const first = await (await open('alice', 'a', '10.0.0.1')).synced()
    await (await open('alice', 'b', '10.0.0.2')).synced()
    await refused(await open('alice', 'c', '10.0.0.3'))
    const again = await (await open('alice', 'a', '10.0.0.1')).synced()
    t.equal(await first.closed(), 4409, 'the same device replaces itself')
    await (await open('bob', 'a', '10.0.0.1')).synced()
    await (await open('carol', 'a', '10.0.0.1')).synced()
    await refused(await open('dan', 'a', '203.0.113.9, 10.0.0.1'))
    await (await open('dan', 'a', '10.0.0.4')).synced()
    await again.close()
    await until('its places are free', async () => {
      const socket = await open('alice', 'c', '10.0.0.1')
      await socket.until('let in or not', () => socket.closeCode !== undefined || socket.frames.length > 0)
      return socket.frames[0]?.op === 'ready'
    })
  })
}
