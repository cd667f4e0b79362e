/** What the `ack` of a poll may move, when the session that it is from has ended, and whoever gives it; and how long a session waits for its next poll. */
import t, { type Test } from 'tap'
import { type TestUser, until, type World, world } from '../src/index.js'

interface Answer {
  status: number
  body: {
    messages: { conversation: string; seq: number }[]
    events: { op: string; conversation?: string; from?: number; to?: number }[]
    ack: string
    more: boolean
    code?: string
  }
}

async function poll(w: World, user: TestUser, query: Record<string, string>, node = 0): Promise<Answer> {
  const url = new URL(w.connects[node]!.url.replace('ws:', 'http:').replace('/ws', '/longpoll'))
  for (const [name, value] of Object.entries({ device: 'tv', timeout: '5', ...query }))
    url.searchParams.set(name, value)
  const response = await fetch(url, { headers: { authorization: `Bearer ${user.token}` } })
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

/** Polls until a message of this seq is there. */
async function pollTo(w: World, user: TestUser, seq: number, query: Record<string, string>): Promise<Answer['body']> {
  for (;;) {
    const { status, body } = await poll(w, user, query)
    if (status !== 200) throw new Error(`polling: ${status} ${JSON.stringify(body)}`)
    // Without an ack an answer holds what the one before held.
    if (body.messages.some((message) => message.seq === seq)) return body
  }
}

async function sendMany(w: World, from: TestUser, to: object, n: number, text = 'x'): Promise<void> {
  for (let i = 0; i < n; i += 100) {
    const messages = Array.from({ length: Math.min(100, n - i) }, () => ({ to, content: { text } }))
    const sent = await w.http('POST', 'messages/batch', { token: from.token, body: { messages } })
    if (sent.status !== 202) throw new Error(`sending: ${sent.status} ${sent.text}`)
  }
}

async function sessionsEnded(w: World): Promise<void> {
  await until('the session has ended by silence', async () => {
    const text = await (await fetch(`http://127.0.0.1:${w.ops.get('connect-1')}/metrics`)).text()
    return /^tidings_sessions\b.* 0$/m.test(text)
  })
}

t.test('an ack moves what its own user and device were shown, on any node', async (t) => {
  const w = await world(t, { count: { connect: 2 } })
  const [alice, bob, mallory] = [await w.user(), await w.user(), await w.user()]
  const made = await w.http<{ id: string }>('POST', 'rooms', {
    token: alice.token,
    body: { name: 'small', members: [bob.name] },
  })
  t.equal(made.status, 201)
  const room = `room:${made.body.id}`
  const hears = await alice.connect()
  await until('the room has entries', async () => (await poll(w, bob, { from: 'oldest' })).body.messages.length > 0)
  const { ack, messages } = (await poll(w, bob, { timeout: '0' })).body
  t.equal(messages[0]!.conversation, room)
  const seq = messages.at(-1)!.seq

  const unsealed = Buffer.from(JSON.stringify({ session: 's', answer: 1, upTo: { [room]: 1 } })).toString('base64url')
  const [payload, seal] = ack.split('.')
  const rows: [string, TestUser, Record<string, string>][] = [
    ['made up', mallory, { ack: unsealed }],
    ['made up, with the seal of another', mallory, { ack: `${unsealed}.${seal}` }],
    ['of another user', mallory, { ack }],
    ['of another device', bob, { ack, device: 'phone' }],
    ['changed', bob, { ack: `${payload!.replace(/.$/, 'A')}A.${seal}` }],
    ['without its seal', bob, { ack: payload! }],
  ]
  for (const [what, user, query] of rows) {
    for (const node of [0, 1]) {
      const { status, body } = await poll(w, user, { timeout: '0', ...query }, node)
      t.match({ status, code: body.code }, { status: 400, code: 'invalid_request' }, what)
    }
  }
  t.equal((await poll(w, bob, { ack, timeout: '0' }, 1)).status, 200, 'his own, on another node')
  t.equal((await poll(w, bob, { ack, timeout: '0' }, 1)).status, 200, 'and once more')
  await hears.until('the receipt of who was shown it', () =>
    hears.frames.some(({ op, user, delivered }) => op === 'receipt' && user === bob.name && delivered === seq),
  )
  t.notOk(hears.frames.some(({ op, user }) => op === 'receipt' && user === mallory.name))
  t.same(await w.redis.hgetall(w.keys.cursor(mallory.name, 'tv')), {})
  t.same(await w.redis.hgetall(w.keys.cursor(bob.name, 'phone')), {})
})

t.test('a client that asks for the oldest with each poll, with much to come, goes on where it was', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const all = Array.from({ length: 400 }, (_, i) => i + 1)
  await sendMany(w, alice, { user: bob.name }, all.length, 'x'.repeat(1_500))
  const seqs: number[] = []
  let ack = ''
  while (seqs.length < all.length) {
    const { status, body } = await poll(w, bob, { from: 'oldest', ...(ack && { ack }) })
    t.equal(status, 200)
    seqs.push(...body.messages.map(({ seq }) => seq))
    ack = body.ack
  }
  t.same(seqs, all)
})

t.test('acks of sessions that were silent for long', async (t) => {
  const w = await world(t, { env: { TIDINGS_HEARTBEAT_MS: '500' } })
  await behindAGap(t, w)
})

async function behindAGap(t: Test, w: World): Promise<void> {
  await t.test('a gap is told again until it was acknowledged over HTTP', async (t) => {
    const [alice, bob] = [await w.user(), await w.user()]
    await sendMany(w, alice, { user: bob.name }, 1_000)
    const first = await pollTo(w, bob, 1_000, { gap: '1' })
    const { conversation } = first.messages[0]!
    t.match(first.events, [{ op: 'gap', conversation, from: 1, to: 900 }])
    t.equal(first.messages[0]!.seq, 901)
    await sessionsEnded(w)

    const again = await pollTo(w, bob, 1_000, { gap: '1', ack: first.ack })
    t.match(again.events, [{ op: 'gap', conversation, from: 1, to: 900 }], 'nobody has paged it')
    t.equal(await w.redis.hget(w.keys.cursor(bob.name, 'tv'), conversation), null)

    const body = { device: 'tv', seq: 1_000 }
    const path = `conversations/${encodeURIComponent(conversation)}/ack`
    t.equal((await w.http('POST', path, { token: bob.token, body })).status, 204)
    await sessionsEnded(w)
    const { status, body: after } = await poll(w, bob, { gap: '1', ack: again.ack, timeout: '0' })
    t.match({ status, after }, { status: 200, after: { messages: [], events: [] } })
    t.equal(await w.redis.hget(w.keys.cursor(bob.name, 'tv'), conversation), '1000')
  })
}
