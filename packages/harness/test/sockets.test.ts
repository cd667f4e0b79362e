import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { connect as connectTcp } from 'node:net'
import t, { type Test } from 'tap'
import { mintToken, Refused, TestClient, until, type World, world } from '../src/index.js'

/** The same suite holds both transports. */
for (const transport of ['uws', 'ws'] as const) {
  t.test(`the WebSocket on ${transport}`, async (t) => {
    const w = await world(t, {
      env: {
        TIDINGS_CONNECT_TRANSPORT: transport,
        TIDINGS_ORIGINS: 'https://app.example',
        TIDINGS_HEARTBEAT_MS: '400',
      },
    })
    t.equal(w.connects[0]!.transport, transport)
    await tokens(t, w)
    await handshake(t, w)
    await badFrames(t, w)
    await ops(t, w)
    await heartbeat(t, w)
  })
}

t.test('frames are limited where limits are on', async (t) => {
  const w = await world(t, { env: { TIDINGS_RATE_LIMITS: 'on' } })
  const alice = await w.user()
  const socket = await alice.connect()
  for (let i = 0; i < 100; i++) socket.send({ op: 'ping' })
  t.equal(await socket.closed(), 4429)
  t.match(socket.frames.at(-1), { op: 'error', code: 'rate_limited' })

  await t.test('not for who says as much as a client must', async (t) => {
    const bob = await w.user()
    const sender = await alice.connect()
    const to = { user: bob.name }
    for (let n = 1; n <= 500; n++) sender.send({ op: 'send', to, content: { text: `${n}` }, clientId: `c-${n}` })
    await sender.until('all are accepted', () => sender.frames.filter(({ op }) => op === 'sent').length === 500)
    t.same(
      sender.frames.filter(({ op }) => op === 'sent').map(({ seq }) => seq),
      Array.from({ length: 500 }, (_, i) => i + 1),
      'in the order in which they were sent',
    )
    // As many more as HTTP takes at once: more acks and reads than the bucket holds.
    const messages = Array.from({ length: 500 }, () => ({ to, content: { text: 'more' } }))
    t.equal((await w.http('POST', 'messages/batch', { token: alice.token, body: { messages } })).status, 202)
    const reader = await bob.connect()
    const conversation = reader.messages()[0]!.conversation
    for (const { seq } of reader.messages()) for (const op of ['ack', 'read']) reader.send({ op, conversation, seq })
    t.equal(reader.messages().length, 1_000)
    reader.send({ op: 'ping' })
    t.match(await reader.next('pong'), { op: 'pong' }, 'acks and reads of 1,000 entries')
    t.notOk(reader.frames.some(({ op }) => op === 'error'))
    for (let i = 0; i < 3_000; i++) reader.send({ op: 'ack', conversation, seq: 1 })
    t.equal(await reader.closed(), 4429, 'what nobody asked for has an end')

    const flood = await alice.connect()
    for (let i = 0; i < 20_000; i++) flood.send({ op: 'send', to, content: {}, clientId: `f-${i}` })
    t.equal(await flood.closed(), 4429, 'and so has writing')
  })
})

const url = (w: World, query = ''): string => `${w.connects[0]!.url}${query}`

async function tokens(t: Test, w: World): Promise<void> {
  await t.test('tokens: header, subprotocol, ticket; everything else is 4401', async (t) => {
    const alice = await w.user()
    const byProtocol = await TestClient.open(url(w), { protocols: ['tidings.v1', `bearer.${alice.token}`] })
    t.equal(byProtocol.ws.protocol, 'tidings.v1', 'the token is not echoed')
    t.match(await byProtocol.next('ready'), {
      user: alice.name,
      device: 'default',
      heartbeat: 400,
      session: String,
      maxFrame: Number,
    })
    await byProtocol.close()

    const { body } = await w.http<{ ticket: string; expiresIn: number }>('POST', 'auth/ws-ticket', {
      token: alice.token,
    })
    t.equal(body.expiresIn, 60)
    const byTicket = await TestClient.open(url(w, `?ticket=${body.ticket}&device=cli`))
    t.match(await byTicket.next('ready'), { user: alice.name, device: 'cli' })
    const secret = w.env.TIDINGS_JWT_SECRET!
    const bad: [string, { token?: string; query?: string }][] = [
      ['no token', {}],
      ['an expired one', { token: mintToken(secret, alice.name, { exp: Math.floor(Date.now() / 1_000) - 31 }) }],
      ['one without exp', { token: mintToken(secret, alice.name, { exp: undefined }) }],
      ['a foreign one', { token: mintToken(randomBytes(32).toString('hex'), alice.name) }],
      [
        'alg none',
        { token: `${mintToken(secret, alice.name, {}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.` },
      ],
      ['a sub that is no user id', { token: mintToken(secret, 'a:b') }],
      ['a refresh token', { token: alice.refreshToken }],
      ['a used ticket', { query: `?ticket=${body.ticket}` }],
      ['a token in the query', { query: `?token=${alice.token}` }],
      ['20 KiB', { token: 'x'.repeat(3_000) }],
    ]
    for (const [name, { token, query = '' }] of bad) {
      const socket = await TestClient.open(url(w, query), token === undefined ? {} : { token })
      t.equal(await socket.closed(), 4401, name)
      t.match(socket.frames[0], { op: 'error', code: 'unauthenticated' }, name)
      t.notOk(socket.frames.some((frame) => frame.op === 'ready'))
    }
    for (const device of ['', 'x'.repeat(1_024), '../etc', 'a%0Ab']) {
      const socket = await TestClient.open(url(w, `?device=${device}`), { token: alice.token })
      t.equal(await socket.closed(), 4400, `device ${device.slice(0, 10)}`)
    }
  })

  await t.test('a token that runs out ends the session; a fresh one keeps it; another user’s does not', async (t) => {
    const secret = w.env.TIDINGS_JWT_SECRET!
    const alice = await w.user()
    const soon = () => mintToken(secret, alice.name, { exp: Math.floor(Date.now() / 1_000) + 2 })
    const ends = await TestClient.open(url(w, '?device=a'), { token: soon() })
    const stays = await TestClient.open(url(w, '?device=b'), { token: soon() })
    await stays.synced()
    stays.send({ op: 'token', token: alice.token })
    t.equal(await ends.closed(), 4401)
    stays.send({ op: 'ping' })
    await stays.next('pong')
    const mallory = await w.user()
    stays.send({ op: 'token', token: mallory.token })
    t.equal(await stays.closed(), 4401)
  })
}

async function handshake(t: Test, w: World): Promise<void> {
  await t.test('handshakes that are refused before they are one', async (t) => {
    const { token } = await w.user()
    for (const origin of ['https://evil.example', 'https://app.example.evil', 'null']) {
      await t.rejects(
        TestClient.open(url(w), { token, headers: { origin } }),
        { message: /refused with 403.*origin_not_allowed/ },
        origin,
      )
    }
    const listed = await TestClient.open(url(w), { token, headers: { origin: 'https://app.example' } })
    await listed.close()
    const http = url(w).replace('ws:', 'http:')
    const plain = await fetch(http)
    t.equal(plain.status, 426)
    t.match(await plain.json(), { code: 'upgrade_required' })
    t.match(plain.headers.get('x-request-id'), /^[0-9a-f]{16}$/)
    const old = { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
    t.equal(await statusOf(http, { ...old, 'sec-websocket-version': '8' }), 400, 'a version of before')
    t.equal((await fetch(http, { method: 'POST' })).status, 405)
    t.equal((await fetch(http.replace('/ws', '/nothing'))).status, 404)
    try {
      await TestClient.open(url(w).replace('/ws', '/nothing'), { token })
      t.fail('a WebSocket on another path')
    } catch (error) {
      t.ok(error instanceof Refused && error.status === 404)
    }
  })
}

/** What a handshake is answered with. */
const statusOf = (url: string, headers: Record<string, string>): Promise<number> =>
  new Promise((resolve, reject) => {
    const asked = request(url, { headers }, (response) => {
      response.resume()
      resolve(response.statusCode!)
    })
    asked.on('upgrade', (_, socket) => {
      socket.destroy()
      resolve(101)
    })
    asked.on('error', reject)
    asked.end()
  })

async function badFrames(t: Test, w: World): Promise<void> {
  await t.test('bad frames get an error each; the third within a minute ends the session with 4400', async (t) => {
    const alice = await w.user()
    for (const [name, frames] of Object.entries({
      'not JSON': ['{"op":', 'hello', ''],
      'no op': ['{}', '[]', '{"op":7}'],
      'an unknown op': ['{"op":"fly"}', '{"op":"__proto__"}', '{"op":"constructor"}'],
      'wrong fields': [
        '{"op":"ack","conversation":"dm:a:b","seq":"1"}',
        '{"op":"ping","x":1}',
        '{"op":"send","clientId":"c"}',
      ],
      'a name that stands twice': [
        '{"op":"ping","op":"ping"}',
        '{"op":"ack","conversation":"dm:a:b","seq":5,"seq" : 1}',
        '{"op":"resume","cursors":{"dm:a:b":1,"dm:a:b":2}}',
      ],
    })) {
      const socket = await alice.connect()
      for (const frame of frames) socket.send(frame)
      t.equal(await socket.closed(), 4400, name)
      t.equal(socket.frames.filter((frame) => frame.op === 'error' && frame.code === 'bad_frame').length, 3, name)
    }
    const binary = await alice.connect()
    binary.ws.send(Buffer.from([1, 2, 3]))
    t.equal(await binary.closed(), 4400, 'binary')
    t.match(binary.frames.at(-1), { op: 'error', code: 'bad_frame' }, 'told before it is closed')
    for (const length of [20_481, 40_000, 1_048_576]) {
      const large = await alice.connect()
      large.send('x'.repeat(length))
      t.equal(await large.closed(), 1009, `${length} bytes`)
    }
    const pieces = await alice.connect()
    for (let i = 0; i < 30; i++) pieces.ws.send('x'.repeat(1_000), { fin: i === 29 })
    t.equal(await pieces.closed(), 1009, 'in pieces')
  })

  await t.test('a send that is refused names its clientId, and nothing is appended', async (t) => {
    const alice = await w.user()
    const socket = await alice.connect()
    const to = { user: alice.name }
    const bad: [object | string, string][] = [
      [{ to: { user: 'nobody-here' }, content: {} }, 'user_not_found'],
      [{ to: { room: 'abcdefghij012345' }, content: {} }, 'conversation_not_found'],
      [{ to, content: {}, type: 'system' }, 'forbidden'],
      [{ to, content: {}, type: 'hologram' }, 'invalid_request'],
      [{ to, content: { t: 'x'.repeat(16_400) } }, 'content_too_large'],
    ]
    for (const [frame, code] of bad) {
      socket.send({ op: 'send', clientId: `c-${code}`, ...(frame as object) })
      t.match(await socket.next('error'), { code, clientId: `c-${code}`, ref: 'send' })
    }
    socket.send(`{"op":"send","to":{"user":"${alice.name}"},"clientId":"c-dup","content":{"a":1,"a":2}}`)
    t.match(await socket.next('error'), { code: 'invalid_content', clientId: 'c-dup' })
    const self = `dm:${alice.name}:${alice.name}`
    t.equal(await w.redis.get(w.keys.seq(self)), null)
    socket.send({ op: 'send', to, content: { text: 'note to self' }, clientId: 'c-1' })
    t.match(await socket.next('sent'), { conversation: self, seq: 1 })
    await socket.until('the note itself, before or after', () => socket.seqs(self).length === 1)
    socket.send({ op: 'send', to, content: { text: 'another' }, clientId: 'c-1' })
    t.match(await socket.next('error'), { code: 'idempotency_conflict', clientId: 'c-1' })
  })
}

async function ops(t: Test, w: World): Promise<void> {
  await t.test('acks: only of what was shown, never of what is another’s', async (t) => {
    const alice = await w.user()
    const bob = await w.user()
    const socket = await bob.connect()
    const { conversation } = await alice.send(bob)
    await socket.nextMessage()
    socket.ack(conversation, 2)
    t.match(await socket.next('error'), { code: 'beyond_head' })
    socket.ack('dm:someone:else', 1)
    t.match(await socket.next('error'), { code: 'conversation_not_found' })
    socket.ack(conversation, 1)
    await until(
      'the cursor',
      async () => (await w.redis.hget(w.keys.cursor(bob.name, 'default'), conversation)) === '1',
    )
    socket.ack(conversation, 0)
    socket.send({ op: 'ping' })
    await socket.next('pong')
    t.equal(await w.redis.hget(w.keys.cursor(bob.name, 'default'), conversation), '1', 'never backwards')
  })

  await t.test('read: up to the head, never backwards, never of what is another’s', async (t) => {
    const alice = await w.user()
    const bob = await w.user()
    const { conversation } = await alice.send(bob)
    await alice.send(bob)
    const socket = await bob.connect()
    const position = () => w.redis.hget(w.keys.read(conversation), bob.name)
    socket.send({ op: 'read', conversation, seq: 3 })
    t.match(await socket.next('error'), { code: 'beyond_head', ref: 'read' })
    t.equal(await position(), null, 'unmoved')
    socket.send({ op: 'read', conversation: 'dm:someone:else', seq: 1 })
    t.match(await socket.next('error'), { code: 'conversation_not_found', ref: 'read' })
    socket.send({ op: 'read', conversation, seq: 2 })
    await until('it moved', async () => (await position()) === '2:2')
    socket.send({ op: 'read', conversation, seq: 1 })
    const list = async () =>
      (await w.http<{ conversations: object[] }>('GET', 'conversations', { token: bob.token })).body.conversations
    t.match(await list(), [{ id: conversation, read: 2, unread: 0 }])
    t.match(
      await w.http('POST', `conversations/${conversation}/read`, { token: bob.token, body: { seq: 1 } }),
      { status: 204 },
      'the same over HTTP',
    )
    t.equal(await position(), '2:2', 'never backwards')
    await socket.close()
  })

  await t.test('sync pages a conversation, and no other’s', async (t) => {
    const alice = await w.user()
    const bob = await w.user()
    for (let i = 0; i < 30; i++) await alice.send(bob, { i })
    const socket = await alice.connect()
    const conversation = socket.messages()[0]!.conversation
    const before = socket.messages().length
    socket.send({ op: 'sync', conversation, after: 5, limit: 10 })
    t.match(await socket.next('synced'), { conversation, messages: 10 })
    t.same(
      socket
        .messages()
        .slice(before)
        .map((m) => m.seq),
      [6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    )
    const mallory = await (await w.user()).connect()
    mallory.send({ op: 'sync', conversation, after: 0 })
    t.match(await mallory.next('error'), { code: 'conversation_not_found' })
    t.same(mallory.messages(), [])
  })

  await t.test('resume with the client’s own cursors', async (t) => {
    const alice = await w.user()
    const bob = await w.user()
    for (let i = 0; i < 5; i++) await alice.send(bob, { i })
    const first = await bob.connect()
    const conversation = first.messages()[0]!.conversation
    first.ack(conversation, 5)
    await until(
      'the cursor',
      async () => (await w.redis.hget(w.keys.cursor(bob.name, 'default'), conversation)) === '5',
    )
    const again = await TestClient.open(url(w, '?resume=client'), { token: bob.token })
    await again.next('ready')
    again.send({ op: 'resume', cursors: { [conversation]: 2, 'dm:foreign:one': 1 } })
    again.send({ op: 'resume', cursors: {}, done: true })
    await again.synced()
    t.same(again.seqs(), [3, 4, 5])
    const oldest = await bob.connect({ query: '&from=oldest' })
    t.same(oldest.seqs(), [1, 2, 3, 4, 5])
  })
}

async function heartbeat(t: Test, w: World): Promise<void> {
  await t.test('a socket that answers pings lives; one that is silent is ended', async (t) => {
    const alice = await w.user()
    const lively = await alice.connect({ device: 'lively' })
    const { port, hostname, pathname } = new URL(url(w))
    const silent = connectTcp(Number(port), hostname)
    silent.write(
      `GET ${pathname}?device=silent HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nAuthorization: Bearer ${alice.token}\r\n\r\n`,
    )
    silent.resume()
    await new Promise((resolve) => silent.once('close', resolve))
    t.equal(lively.closeCode, undefined)
    lively.send({ op: 'ping' })
    await lively.next('pong')
  })
}
