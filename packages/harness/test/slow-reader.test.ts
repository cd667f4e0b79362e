import t from 'tap'
import { until, world } from '../src/index.js'

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

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
    await until('the slow one is gone', async () => / 1$/m.test((await sessions()).match(/^tidings_sessions\{.*/m)![0]))
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

  t.test(`a burst in a room closes nobody who reads (${transport})`, async (t) => {
    const w = await world(t, { env: { TIDINGS_CONNECT_TRANSPORT: transport } })
    const alice = await w.user()
    const members = await Promise.all(upTo(10).map(() => w.user()))
    const { body } = await w.http('POST', 'rooms', {
      token: alice.token,
      body: { name: 'room', kind: 'permanent', visibility: 'private', members: members.map(({ name }) => name) },
    })
    const readers = await Promise.all(members.map((one) => one.connect()))
    const text = 'x'.repeat(15_000)
    const messages = upTo(500).map(() => ({ to: { room: body.id }, content: { text } }))
    const sent = await w.http('POST', 'messages/batch', { token: alice.token, body: { messages } })
    t.equal(sent.status, 202)
    for (const reader of readers) {
      await reader.until('all of it', () => reader.messages().filter(({ type }) => type === 'text').length === 500)
      t.equal(reader.closeCode, undefined)
      const [first = 0] = reader.seqs()
      t.same(
        reader.seqs(),
        reader.seqs().map((_, i) => first + i),
      )
    }
  })
}
