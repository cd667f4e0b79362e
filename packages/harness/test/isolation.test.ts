/**
 * Promise 4: nobody outside a conversation receives, reads, counts or probes an entry of it. Strangers try every HTTP call of the
 * OpenAPI document and every op of the WebSocket, once against a conversation that is there and once against one that is not:
 * both must be answered alike, and nothing of the real one may show anywhere.
 */
import { randomBytes } from 'node:crypto'
import { createLogger } from '@tidings/service'
import t from 'tap'
import { TestClient, type TestUser, until, type World, world } from '../src/index.js'

/** Two people and what is between them; the names of both targets are of the same lengths. */
interface Target {
  a: string
  b: string
  conversation: string
  /** A private room of both. */
  room: string
  /** A message of theirs. */
  message: string
  /** Opaque texts that belong to `b`, where there are any. */
  cursor: string
  token: string
}

interface Call {
  query?: string
  body?: unknown
}

type Calls = (target: Target) => Call[]

const CANARY = `canary-${randomBytes(12).toString('hex')}`
const seqs = [0, 1, 2, 1_000_000]
const plain: Calls = () => [{}]

/** What strangers try, by route: all that names a conversation, a person in it, or something of theirs. */
const CALLS: Record<string, Calls> = {
  'GET /api/v1/conversations': ({ conversation }) => [
    {},
    { query: '?limit=100' },
    { query: `?cursor=${Buffer.from(`9\n${conversation}`).toString('base64url')}` },
  ],
  'GET /api/v1/conversations/{id}/messages': () =>
    ['', '?after=0', '?after=1', '?before=3', '?limit=200'].map((query) => ({ query })),
  'POST /api/v1/conversations/{id}/ack': () => seqs.map((seq) => ({ body: { seq, device: 'phone' } })),
  'POST /api/v1/conversations/{id}/read': () => seqs.map((seq) => ({ body: { seq } })),
  'GET /api/v1/offline': ({ cursor }) => [
    {},
    { query: '?device=phone' },
    { query: '?device=phone&from=oldest&limit=500' },
    { query: `?device=phone&cursor=${cursor}` },
  ],
  'GET /api/v1/presence': ({ a, b }) => [a, b, `${a},${b}`].map((users) => ({ query: `?users=${users}` })),
  'POST /api/v1/messages': ({ a, b }) => [
    { body: { to: { user: b }, from: a, content: {}, clientId: 'c-1' } },
    { body: { to: { room: 'abcdefghij012345' }, content: {}, clientId: 'c-1' } },
  ],
  'POST /api/v1/messages/batch': ({ a, b, room }) => [
    { body: { messages: [{ to: { user: b }, from: a, content: {}, clientId: 'c-1' }] } },
    { body: { messages: [{ to: { room }, content: {}, clientId: 'c-1' }] } },
  ],
  'GET /api/v1/messages/{id}': plain,
  'PATCH /api/v1/messages/{id}': () => [{ body: { content: { text: 'mine' } } }],
  'DELETE /api/v1/messages/{id}': plain,
  'PUT /api/v1/messages/{id}/reactions/{emoji}': plain,
  'DELETE /api/v1/messages/{id}/reactions/{emoji}': plain,
  'PATCH /api/v1/conversations/{id}': () => [{ body: { pinned: true } }],
  'GET /api/v1/search': ({ conversation, a }) =>
    ['', `&conversation=${conversation}`, `&from=${a}`].map((more) => ({ query: `?q=${CANARY}${more}` })),
  'GET /api/v1/files/{id}': plain,
  'DELETE /api/v1/files/{id}': plain,
  'POST /api/v1/files/{id}/ticket': plain,
  'GET /api/v1/rooms': () => [{}, { query: '?q=canary' }],
  'GET /api/v1/rooms/{id}': plain,
  'PATCH /api/v1/rooms/{id}': () => [{ body: { name: 'mine' } }],
  'DELETE /api/v1/rooms/{id}': plain,
  'POST /api/v1/rooms/{id}/join': plain,
  'POST /api/v1/rooms/{id}/leave': plain,
  'GET /api/v1/rooms/{id}/members': ({ b }) => [{}, { query: `?cursor=${b}` }],
  'POST /api/v1/rooms/{id}/members': ({ a }) => [{ body: { users: [a] } }],
  'PUT /api/v1/rooms/{id}/members/{user}': () => [
    { body: {} },
    { body: { role: 'owner' } },
    { body: { mutedUntil: null } },
  ],
  'DELETE /api/v1/rooms/{id}/members/{user}': plain,
  'GET /api/v1/rooms/{id}/bans': plain,
  'PUT /api/v1/rooms/{id}/bans/{user}': plain,
  'DELETE /api/v1/rooms/{id}/bans/{user}': plain,
  'GET /api/v1/me': plain,
  'GET /api/v1/blocks': ({ b }) => [{}, { query: `?cursor=${b}` }],
  'PATCH /api/v1/me': ({ a }) => [{ body: { id: a, displayName: 'mine' } }],
  'DELETE /api/v1/me': ({ a }) => [{ query: `?user=${a}` }],
  'POST /api/v1/auth/logout': plain,
  'POST /api/v1/auth/refresh': ({ token }) => [{ body: { refreshToken: token } }],
  'POST /api/v1/auth/login': ({ a }) => [{ body: { username: a, password: 'not the password' } }],
}

/** What only servers with the scope admin, and operators who sign, may do. */
const GUARDED: Record<string, Calls> = {
  'POST /api/v1/users': ({ a }) => [{ body: { id: a } }],
  'DELETE /api/v1/users/{id}': plain,
  'PUT /api/v1/users/{id}/disabled': plain,
  'DELETE /api/v1/users/{id}/disabled': plain,
  'POST /api/v1/webhooks': () => [{ body: { url: 'https://example.com/', events: ['message'] } }],
  'GET /api/v1/webhooks': plain,
  'PATCH /api/v1/webhooks/{id}': () => [{ body: { enabled: false } }],
  'DELETE /api/v1/webhooks/{id}': plain,
  'GET /api/v1/webhooks/{id}/dead': plain,
  'POST /api/v1/webhooks/{id}/dead/retry': () => [{ body: {} }],
  'GET /api/v1/admin/nodes': plain,
  'GET /api/v1/admin/partitions': plain,
  'GET /api/v1/admin/dead': () => [{ query: '?content=true' }],
  'POST /api/v1/admin/dead/{partition}/{group}/{id}/requeue': plain,
  'DELETE /api/v1/admin/dead/{partition}/{group}/{id}': plain,
  'GET /api/v1/admin/sessions': ({ a }) => [{ query: `?user=${a}` }],
  'DELETE /api/v1/admin/sessions/{user}': plain,
  'DELETE /api/v1/admin/sessions/{user}/{session}': plain,
  'POST /api/v1/admin/users': ({ a }) => [{ body: { id: a } }],
  'GET /api/v1/admin/users/{id}': plain,
  'DELETE /api/v1/admin/users/{id}': plain,
  'PUT /api/v1/admin/users/{id}/disabled': plain,
  'DELETE /api/v1/admin/users/{id}/disabled': plain,
  'GET /api/v1/admin/users/{user}/devices': plain,
  'DELETE /api/v1/admin/users/{user}/devices/{device}': plain,
  'GET /api/v1/admin/messages/{id}': plain,
  'GET /api/v1/admin/limits': plain,
  'PUT /api/v1/admin/limits': () => [{ body: { sendsPerS: 1 } }],
  'DELETE /api/v1/admin/limits': plain,
  'GET /api/v1/admin/words': plain,
  'PUT /api/v1/admin/words': () => [{ body: { words: [] } }],
  'DELETE /api/v1/admin/words': plain,
  'GET /api/v1/admin/flagged': plain,
}
/** Who exists is no secret: these tell people apart, and show nothing that they said. */
const PUBLIC: Record<string, Calls> = {
  'GET /api/v1/users/{id}': plain,
  'POST /api/v1/auth/register': ({ a }) => [{ body: { username: a, password: 'short' } }],
  'POST /api/v1/auth/ws-ticket': plain,
  'POST /api/v1/rooms': () => [{ body: { name: '' } }],
  'PUT /api/v1/blocks/{user}': plain,
  'DELETE /api/v1/blocks/{user}': plain,
  'GET /api/v1/me/devices': ({ b }) => [{}, { query: `?cursor=${b}` }],
  'DELETE /api/v1/me/devices/{device}': plain,
  'GET /api/v1/me/export': plain,
  'GET /api/v1/me/push-subscriptions': plain,
  'POST /api/v1/me/push-subscriptions': () => [{ body: {} }],
  'DELETE /api/v1/me/push-subscriptions/{device}': plain,
  'GET /api/v1/push/vapid-key': plain,
  'POST /api/v1/push': () => [{ body: {} }],
  'POST /api/v1/files': plain,
}

const both = ({ conversation, room }: Target, frames: (conversation: string) => object[]): object[] => [
  ...frames(conversation),
  ...frames(`room:${room}`),
]

/** What strangers say, by op; each is answered by an `error` frame, save where it says otherwise. */
const FRAMES: Record<string, (target: Target) => object[]> = {
  send: ({ a, b }) => [
    { op: 'send', to: { user: b }, from: a, content: {}, clientId: 'c-1' },
    { op: 'send', to: { room: 'abcdefghij012345' }, content: {}, clientId: 'c-1' },
  ],
  ack: (target) => both(target, (conversation) => seqs.map((seq) => ({ op: 'ack', conversation, seq }))),
  read: (target) => both(target, (conversation) => seqs.map((seq) => ({ op: 'read', conversation, seq }))),
  sync: (target) =>
    both(target, (conversation) => seqs.map((after) => ({ op: 'sync', conversation, after, limit: 500 }))),
  resume: ({ conversation }) => [{ op: 'resume', cursors: { [conversation]: 0 }, done: true }],
  typing: (target) => both(target, (conversation) => [{ op: 'typing', conversation }]),
  watch: ({ a, b }) => [{ op: 'watch', users: [a, b] }],
  ping: () => [],
  token: () => [],
}

/** Ops that strangers are not answered at all. */
const SILENT = new Set(['watch'])

/** A reply or frames as text, without what is in it by chance, and with the target's names made equal. */
function neutral(text: string, { a, b, conversation, room }: Target): string {
  const named = text
    .replaceAll(conversation, 'CONVERSATION')
    .replaceAll(room, 'ROOM')
    .replaceAll(a, 'A')
    .replaceAll(b, 'B')
  return named.replace(/"(?:instance|requestId|ticket|session)":"[^"]*",?/g, '')
}

async function people(w: World) {
  const tail = randomBytes(4).toString('hex')
  const [alice, bob] = [await w.user(`alice${tail}`), await w.user(`bob${tail}`)]
  const sent = await alice.send(bob, { text: CANARY }, { clientId: 'c-1' })
  await alice.send(bob, { text: `${CANARY} again` })
  await bob.send(alice, { text: `${CANARY} too` })
  const missed = await w.http<{ nextCursor: string }>('GET', 'offline?device=phone&limit=1', { token: bob.token })
  const login = await w.http<{ accessToken: string; refreshToken: string }>('POST', 'auth/login', {
    body: { username: bob.name, password: `password of ${bob.name}` },
  })
  const made = await w.http<{ id: string }>('POST', 'rooms', {
    token: alice.token,
    body: { name: CANARY, members: [bob.name] },
  })
  const inRoom = { to: { room: made.body.id }, content: { text: `${CANARY} in the room` } }
  await w.http('POST', 'messages', { token: alice.token, body: inRoom })
  const real: Target = {
    room: made.body.id,
    message: sent.id,
    a: alice.name,
    b: bob.name,
    conversation: sent.conversation,
    cursor: missed.body.nextCursor,
    token: login.body.refreshToken,
  }
  const [a, b] = [`alicf${tail}`, `boc${tail}`]
  const ghost: Target = {
    ...{ a, b, conversation: `dm:${a}:${b}`, room: 'ghost-room-01234', message: '1' },
    cursor: real.cursor.replace(/./g, 'x'),
    token: real.token.replace(/./g, 'x'),
  }
  return { alice, bob, sent, real, ghost, ended: login.body.accessToken }
}

/** Bob's second session, logged out, on every edge. */
async function endSession(w: World, token: string): Promise<void> {
  const socket = await TestClient.open(`${w.connects[0]!.url}?device=ended`, { token })
  await socket.synced()
  await w.http('POST', 'auth/logout', { token })
  await socket.closed()
  await until('ended for api too', async () => (await w.http('GET', 'me', { token })).status === 401)
}

t.test('strangers learn nothing, by no call and no frame', async (t) => {
  const lines: string[] = []
  const log = createLogger(
    { app: 'world', instance: 'test', level: 'debug' },
    { write: (line) => void lines.push(line) },
  )
  const services = { reader: randomBytes(16).toString('hex'), pusher: randomBytes(16).toString('hex') }
  const env = {
    TIDINGS_ADMIN_KEYS: `ops:${randomBytes(32).toString('hex')}`,
    TIDINGS_SERVICE_TOKENS: `reader:read:${services.reader},pusher:push:${services.pusher}`,
  }
  const w = await world(t, { env, log })
  const { alice, bob, sent, real, ghost, ended } = await people(w)
  const phone = await bob.connect({ device: 'phone' })
  await until('stored', async () => (await rows(w, real.conversation)) === 3)
  const twin = alice.name.toUpperCase()
  await endSession(w, ended)
  const strangers: Record<string, string | undefined> = {
    'another user': w.token(`mallory${randomBytes(4).toString('hex')}`),
    'a user whose name differs in case': w.token(twin),
    'a service that may read profiles': services.reader,
    'a service that may push': services.pusher,
    'a session of a member, logged out': ended,
    nobody: undefined,
  }
  /** Everything that strangers were shown, and all that is written down about it. */
  const shown: string[] = []
  const secrets = [CANARY, sent.id]

  await t.test('every route of the document is tried', async (t) => {
    const { body } = await w.http<{ paths: Record<string, object> }>('GET', '/api/v1/openapi.json')
    const routes = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    )
    t.same([...Object.keys(CALLS), ...Object.keys(GUARDED), ...Object.keys(PUBLIC)].sort(), routes.sort())
  })

  for (const [who, token] of Object.entries(strangers)) {
    await t.test(`HTTP: ${who}`, async (t) => {
      for (const [route, calls] of Object.entries(CALLS)) {
        const there = await tryAll(w, route, calls, real, token, shown)
        const nowhere = await tryAll(w, route, calls, ghost, token, shown)
        t.same(there, nowhere, `${route} is answered as if nothing was there`)
        if (route.includes('/conversations/')) t.match(there.join('\n'), /^(40[134] .*\n?)+$/, `${route} is refused`)
      }
      for (const [route, calls] of Object.entries(GUARDED)) {
        const answers = await tryAll(w, route, calls, real, token, shown)
        t.match(answers.join('\n'), /^(40[13] .*\n?)+$/, `${route} is refused`)
      }
      for (const [route, calls] of Object.entries(PUBLIC)) await tryAll(w, route, calls, real, token, shown)
    })
    await t.test(`WebSocket: ${who}`, async (t) => {
      const there = await sayAll(w, real, token, shown)
      t.same(there, await sayAll(w, ghost, token, shown), 'answered as if nothing was there')
      t.notMatch(there.join('\n'), /"op":"message"/)
    })
  }

  await t.test('every op is tried', async (t) => {
    const socket = await bob.connect({ device: 'asks' })
    socket.send({ op: 'there is no such op' })
    const { message } = (await socket.next('error')) as { message?: string }
    const ops = /There are (.*)\.$/.exec(message ?? '')?.[1]?.split(', ')
    t.same(Object.keys(FRAMES).sort(), ops?.sort())
  })

  await t.test('nothing is pushed to whoever is connected, while members get it', async (t) => {
    const sockets = await Promise.all(
      [strangers['another user'], strangers['a user whose name differs in case']].map(async (token) =>
        (await TestClient.open(`${w.connects[0]!.url}?device=phone&from=oldest`, { token: token! })).synced(),
      ),
    )
    const writer = await alice.connect({ device: 'desk' })
    for (let i = 0; i < 20; i++) {
      await alice.send(bob, { text: `${CANARY} ${i}` })
      writer.send({ op: 'send', to: { user: bob.name }, content: { text: CANARY }, clientId: `w-${i}` })
    }
    await phone.until('all of them', () => phone.seqs(real.conversation).length === 43)
    for (const socket of sockets) {
      socket.send({ op: 'ping' })
      await socket.next('pong')
      t.same(socket.messages(), [])
      shown.push(...socket.raw)
      socket.ws.terminate()
    }
  })

  await t.test('no reply, frame, figure or log line has anything of it', async (t) => {
    await misuse(w, alice, bob)
    for (const port of w.ops.values()) {
      for (const path of ['metrics', 'readyz', 'healthz']) {
        const text = await (await fetch(`http://127.0.0.1:${port}/${path}`)).text()
        for (const secret of [...secrets, real.conversation, real.a, real.b]) t.notOk(text.includes(secret), path)
      }
    }
    t.ok(shown.length > 200, 'much was tried')
    t.ok(
      phone.raw.some((frame) => frame.includes(CANARY) && frame.includes(sent.id)),
      'and there was something to find',
    )
    for (const secret of secrets) {
      t.same(
        // A problem names the path that was asked for.
        shown.filter((text) => text.replace(/"instance":"[^"]*"/, '').includes(secret)),
        [],
        'shown',
      )
      t.same(
        lines.filter((line) => line.includes(secret)),
        [],
        'logged',
      )
    }
    t.ok(lines.length > 20, 'the logs were looked at')
  })

  await t.test('and nothing moved', async (t) => {
    t.same(await w.redis.hgetall(w.keys.cursor(twin, 'phone')), {})
    t.same(Object.keys(await w.redis.hgetall(w.keys.read(real.conversation))).sort(), [alice.name, bob.name].sort())
    t.equal(await rows(w, ghost.conversation), 0)
  })
})

async function rows(w: World, conversation: string): Promise<number> {
  const [row] = await w.store.use((db) =>
    db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries WHERE conversation = ?', [conversation]),
  )
  return Number(row!.n)
}

/** @returns each answer: status, headers by name, and text */
async function tryAll(
  w: World,
  route: string,
  calls: Calls,
  target: Target,
  token: string | undefined,
  shown: string[],
): Promise<string[]> {
  const [method, path] = route.split(' ') as [string, string]
  const answers: string[] = []
  for (const { query = '', body } of calls(target)) {
    const [, noun] = /\/(users|blocks|rooms|messages)\/\{/.exec(path) ?? []
    const idOf = { users: target.a, blocks: target.a, rooms: target.room, messages: target.message }
    const id = noun === undefined ? target.conversation : idOf[noun as keyof typeof idOf]
    const named = path
      .replace('{partition}/{group}/{id}', '0/persist/1-0')
      .replace('{id}', id)
      .replace('{user}', noun === 'rooms' ? target.b : noun === undefined ? target.a : id)
      .replace('{device}', 'phone')
      .replace('{session}', 'kXb1mX0qTz2vN4pE')
      .replace('{emoji}', '%F0%9F%91%8D')
    const options = { ...(token !== undefined && { token }), ...(body !== undefined && { body }) }
    const { status, headers, text } = await w.http(method, named + query, options)
    shown.push(text, JSON.stringify([...headers]))
    answers.push(`${status} ${[...headers.keys()].sort()} ${neutral(text, target)}`)
  }
  return answers
}

/** @returns what came back to each frame, and the close code of whoever is not let in */
async function sayAll(w: World, target: Target, token: string | undefined, shown: string[]): Promise<string[]> {
  const answers: string[] = []
  for (const [op, frames] of Object.entries(FRAMES)) {
    const query = op === 'resume' ? '?device=phone&resume=client' : '?device=phone&from=oldest'
    const socket = await TestClient.open(w.connects[0]!.url + query, token === undefined ? {} : { token })
    await socket.until('let in or not', () => socket.closeCode !== undefined || socket.raw.length > 0)
    if (socket.frames[0]?.op === 'ready') {
      if (op !== 'resume') await socket.synced()
      for (const frame of frames(target)) {
        socket.send(frame)
        if (!SILENT.has(op)) await socket.next(op === 'resume' ? 'synced' : 'error')
      }
      socket.send(op === 'token' ? { op, token: target.token } : { op: 'ping' })
      if (op === 'token') await socket.closed()
      else await socket.next('pong')
    }
    socket.ws.terminate()
    await socket.closed()
    shown.push(...socket.raw)
    answers.push(...socket.raw.map((text) => neutral(text, target)), `${op} ${socket.closeCode}`)
  }
  return answers
}

/** Members whose sends are refused: their text must not reach a log line by that way either. */
async function misuse(w: World, alice: TestUser, bob: TestUser): Promise<void> {
  const to = JSON.stringify({ user: bob.name })
  const bodies = [
    `{"to":${to},"content":{"text":"${CANARY}"}`,
    `{"to":${to},"content":{"${CANARY}":1,"${CANARY}":2}}`,
    `{"to":${to},"content":"${CANARY}"}`,
    `{"to":${to},"content":{"text":"${CANARY.padEnd(17_000, '.')}"}}`,
    `{"to":${to},"type":"system","content":{"text":"${CANARY}"}}`,
    `{"to":${to},"content":{"text":"${CANARY}"},"clientId":"c-1"}`,
  ]
  for (const body of bodies) await w.http('POST', 'messages', { token: alice.token, body })
}
