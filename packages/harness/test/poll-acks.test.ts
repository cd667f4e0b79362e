/** What the `ack` of a poll may move, when the session that it is from has ended, and whoever gives it. */
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

async function poll(w: World, user: TestUser, query: Record<string, string>): Promise<Answer> {
  const url = new URL(w.connects[0]!.url.replace('ws:', 'http:').replace('/ws', '/longpoll'))
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

async function sendMany(w: World, from: TestUser, to: object, n: number): Promise<void> {
  for (let i = 0; i < n; i += 500) {
    const messages = Array.from({ length: Math.min(500, n - i) }, () => ({ to, content: { text: 'x' } }))
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
