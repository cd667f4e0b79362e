import t from 'tap'
import { until, world } from '../src/index.js'

for (const transport of ['uws', 'ws'] as const) {
  t.test(`a reader that stops is closed with 4508, and catches up without a hole (${transport})`, async (t) => {
    const w = await world(t, { env: { TIDINGS_CONNECT_TRANSPORT: transport } })
    const alice = await w.user()
    const bob = await w.user()
    const slow = await bob.connect({ device: 'slow' })
    const other = await bob.connect({ device: 'other' })
    const socket = (slow.ws as unknown as { _socket: { pause(): void; resume(): void } })._socket
    socket.pause()
    const text = 'x'.repeat(15_000)
    const total = 700
    for (let i = 0; i < total; i += 50) {
      const messages = Array.from({ length: 50 }, () => ({ to: { user: bob.name }, content: { text } }))
      t.equal((await w.http('POST', 'messages/batch', { token: alice.token, body: { messages } })).status, 202)
    }
    await other.until('the other device has all', () => other.messages().length === total)
    t.same(
      other.seqs(),
      Array.from({ length: total }, (_, i) => i + 1),
      'nobody else is held up',
    )
    const sessions = async () => (await fetch(`http://127.0.0.1:${w.ops.get('connect-1')}/metrics`)).text()
    await until(
      'the slow one is gone',
      async () => / 1$/m.test((await sessions()).match(/^tidings_sessions\{.*/m)![0]),
      15_000,
    )
    const rss = process.memoryUsage().rss
    t.ok(rss < 1 << 30)
    socket.resume()
    t.ok([4508, 1006].includes(await slow.closed()), 'the close frame may be behind what was never read')
    const back = await bob.connect({ device: 'slow' })
    t.same(
      back.seqs(),
      Array.from({ length: total }, (_, i) => i + 1),
    )
  })
}
