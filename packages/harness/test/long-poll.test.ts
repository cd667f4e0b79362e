/** Clients that cannot have a WebSocket: the same entries, order and cursors, one answer at a time. */
import t, { type Test } from 'tap'
import { type TestUser, until, type World, world } from '../src/index.js'

interface Poll {
  messages: { conversation: string; seq: number; content: { text?: string } }[]
  events: { op: string }[]
  ack: string
  more: boolean
  code?: string
}

interface Polled {
  status: number
  body: Poll
  text: string
  headers: Headers
}

async function poll(
  w: World,
  user: TestUser | undefined,
  query: Record<string, string> = {},
  init: { node?: number; signal?: AbortSignal; headers?: Record<string, string>; method?: string } = {},
): Promise<Polled> {
  const url = new URL(w.connects[init.node ?? 0]!.url.replace('ws:', 'http:').replace('/ws', '/longpoll'))
  for (const [name, value] of Object.entries({ device: 'tv', timeout: '10', ...query }))
    url.searchParams.set(name, value)
  const response = await fetch(url, {
    method: init.method ?? 'GET',
    headers: { ...(user && { authorization: `Bearer ${user.token}` }), ...init.headers },
    ...(init.signal && { signal: init.signal }),
  })
  const text = await response.text()
  return {
    status: response.status,
    text,
    headers: response.headers,
    body: (text === '' ? {} : JSON.parse(text)) as Poll,
  }
}

/** Polls and acknowledges until nothing more is there. */
async function drain(
  w: World,
  user: TestUser,
  query: Record<string, string> = {},
): Promise<{ seqs: number[]; ack: string }> {
  const seqs: number[] = []
  let ack = ''
  for (let more = true; more; ) {
    const { status, body, text } = await poll(w, user, { ...query, ...(ack && { ack }), timeout: '0' })
    if (status !== 200) throw new Error(`polling: ${status} ${text}`)
    seqs.push(...body.messages.map(({ seq }) => seq))
    ack = body.ack
    more = body.more || body.messages.length > 0
  }
  return { seqs, ack }
}

const upTo = (n: number, from = 1): number[] => Array.from({ length: n - from + 1 }, (_, i) => from + i)

for (const transport of ['uws', 'ws'] as const) {
  t.test(`polling on ${transport}`, async (t) => {
    const w = await world(t, { env: { TIDINGS_CONNECT_TRANSPORT: transport, TIDINGS_ORIGINS: 'https://app.example' } })
    await messages(t, w)
    await refusals(t, w)
  })
}

async function messages(t: Test, w: World): Promise<void> {
  await t.test('the backlog, then what comes while somebody waits; nothing twice that was acknowledged', async (t) => {
    const [alice, bob] = [await w.user(), await w.user()]
    for (let i = 0; i < 700; i += 100) {
      const messages = Array.from({ length: 100 }, () => ({
        to: { user: bob.name },
        content: { text: 'x'.repeat(500) },
      }))
      t.equal((await w.http('POST', 'messages/batch', { token: alice.token, body: { messages } })).status, 202)
    }
    const first = await drain(w, bob)
    t.same(first.seqs, upTo(700))
    const waiting = poll(w, bob, { ack: first.ack })
    const sent = await alice.send(bob, { text: 'live' })
    const live = await waiting
    t.match(live.body, { messages: [{ seq: sent.seq, content: { text: 'live' } }] })
    t.ok(live.text.includes('"content":{"text":"live"}'))
    const again = await poll(w, bob, { timeout: '0' })
    t.same(
      again.body.messages.map(({ seq }) => seq),
      [701],
      'not acknowledged: it may not have arrived',
    )
    const after = await poll(w, bob, { timeout: '0', ack: again.body.ack })
    t.same(after.body.messages, [])
    await until('the cursor moved', async () => {
      const cursor = await w.redis.hget(w.keys.cursor(bob.name, 'tv'), sent.conversation)
      return cursor === '701'
    })
  })

  await t.test('a client goes from polling to a WebSocket and back without a hole', async (t) => {
    const [alice, bob] = [await w.user(), await w.user()]
    await alice.send(bob)
    const polled = await poll(w, bob)
    t.same(
      polled.body.messages.map(({ seq }) => seq),
      [1],
    )
    const pending = poll(w, bob, { ack: polled.body.ack })
    const socket = await bob.connect({ device: 'tv' })
    t.match(await pending, { status: 409, body: { code: 'session_replaced' } })
    t.same(socket.seqs(), [], 'the ack came with the last poll')
    await alice.send(bob)
    await socket.until('2', () => socket.seqs().includes(2))
    const back = await poll(w, bob)
    t.equal(await socket.closed(), 4409)
    t.same(
      back.body.messages.map(({ seq }) => seq),
      [2],
    )
  })

  await t.test('an answer that nobody read, and a poll that was given up, lose nothing', async (t) => {
    const [alice, bob] = [await w.user(), await w.user()]
    await poll(w, bob, { timeout: '0' })
    const giveUp = new AbortController()
    const lost = poll(w, bob, {}, { signal: giveUp.signal })
    giveUp.abort()
    await t.rejects(lost)
    await alice.send(bob)
    const read = await poll(w, bob)
    t.same(
      read.body.messages.map(({ seq }) => seq),
      [1],
    )
    const pending = poll(w, bob, { ack: read.body.ack })
    await alice.send(bob)
    t.same(
      (await pending).body.messages.map(({ seq }) => seq),
      [2],
    )
    const twice = await poll(w, bob, { ack: read.body.ack })
    t.same(
      twice.body.messages.map(({ seq }) => seq),
      [2],
      'an older ack confirms nothing newer',
    )
  })

  await t.test('logging out ends a poll', async (t) => {
    const bob = await w.user()
    await poll(w, bob, { timeout: '0' })
    const pending = poll(w, bob)
    await w.http('POST', 'auth/logout', { token: bob.token })
    t.equal((await pending).status, 401)
  })
}

async function refusals(t: Test, w: World): Promise<void> {
  await t.test('bad input gets a coded error', async (t) => {
    const bob = await w.user()
    const token = (upTo: object): string =>
      Buffer.from(JSON.stringify({ session: 's', answer: 1, upTo })).toString('base64url')
    const rows: [string, Record<string, string>, number, string][] = [
      ['a long timeout', { timeout: '56' }, 400, 'invalid_request'],
      ['no number', { timeout: '-1' }, 400, 'invalid_request'],
      ['a device', { device: 'a b' }, 400, 'invalid_request'],
      ['no token of ours', { ack: 'zzz' }, 400, 'invalid_request'],
      ['half a token', { ack: token({ 'dm:a:b': -1 }) }, 400, 'invalid_request'],
      ['one that we did not seal', { ack: `${token({})}.${'A'.repeat(22)}` }, 400, 'invalid_request'],
      ['the conversation of others', { ack: token({ 'dm:carol:dave': 5 }) }, 400, 'invalid_request'],
    ]
    for (const [what, query, status, code] of rows) {
      t.match(await poll(w, bob, query), { status, body: { code } }, what)
    }
    t.match(await poll(w, undefined), { status: 401, body: { code: 'unauthenticated' } })
    t.match(await poll(w, bob, {}, { method: 'POST' }), { status: 405, body: { code: 'method_not_allowed' } })
    t.match(await poll(w, bob, {}, { headers: { origin: 'https://evil.example' } }), {
      status: 403,
      body: { code: 'origin_not_allowed' },
    })
    const page = await poll(w, bob, { timeout: '0' }, { headers: { origin: 'https://app.example' } })
    t.equal(page.headers.get('access-control-allow-origin'), 'https://app.example')
    t.match(page.headers.get('access-control-expose-headers'), /retry-after/)
    t.match(page.headers.get('x-request-id'), /^[0-9a-f]{16}$/)
    const named = await poll(w, undefined, {}, { headers: { 'x-request-id': 'mine-1' } })
    t.equal(named.headers.get('x-request-id'), 'mine-1')
    const wrong = await poll(w, bob, {}, { method: 'POST' })
    t.equal(wrong.headers.get('allow'), 'GET, OPTIONS')
  })
}
