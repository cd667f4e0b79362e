/** The pre-send hook from outside. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { until, world } from '../src/index.js'

interface Shown {
  conversation: string
  from: string
  content: { text: string }
  response: ServerResponse
}

/** Keeps what it is shown until a test answers it. */
async function hook(t: Test): Promise<{ shown: Shown[]; env: Record<string, string>; stop(): void }> {
  const shown: Shown[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => shown.push({ ...(JSON.parse(body) as Omit<Shown, 'response'>), response }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = (): void => {
    server.closeAllConnections()
    server.close()
  }
  t.teardown(stop)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const env = { TIDINGS_PRE_SEND_URL: url, TIDINGS_PRE_SEND_SECRET: 's'.repeat(32) }
  return { shown, env, stop }
}

const answer = ({ response }: Shown, what: object): void => void response.end(JSON.stringify(what))

t.test(
  'the hook lets pass, refuses or replaces, on every way in; order is kept whatever it answers first',
  async (t) => {
    const { shown, env, stop } = await hook(t)
    const w = await world(t, {
      env: { ...env, TIDINGS_PRE_SEND_DEADLINE_MS: '8000', TIDINGS_PRE_SEND_ON_FAILURE: 'reject' },
    })
    const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
    const socket = await bob.connect()
    const writer = await alice.connect()
    const to = { user: bob.name }

    const clientIds = ['one', 'two', 'three', 'four']
    for (const clientId of clientIds) writer.send({ op: 'send', to, content: { text: clientId }, clientId })
    await until('all are shown', () => shown.length === 4)
    const byText = (text: string): Shown => shown.find(({ content }) => content.text === text)!
    t.match(byText('one'), { from: alice.name, conversation: /^dm:/ })
    answer(byText('four'), { action: 'allow' })
    answer(byText('three'), { action: 'replace', content: { text: 'THREE' } })
    answer(byText('two'), { action: 'reject', reason: 'Not that.' })
    await until('three are answered', async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${w.ops.get('connect-1')}/metrics`)).text()
      const counts = [...metrics.matchAll(/^tidings_pre_send_seconds_count.* (\d+)$/gm)].map((match) =>
        Number(match[1]),
      )
      return counts.reduce((sum, count) => sum + count, 0) === 3
    })
    t.same(
      writer.frames.filter(({ op }) => op === 'sent' || op === 'error'),
      [],
      'nothing overtakes the first one',
    )
    answer(byText('one'), { action: 'allow' })
    t.match(await writer.next('error'), { code: 'message_rejected', message: 'Not that.', clientId: 'two' })
    const arrived = [await socket.nextMessage(), await socket.nextMessage(), await socket.nextMessage()]
    t.match(
      arrived.map(({ seq, content }) => [seq, content]),
      [
        [1, { text: 'one' }],
        [2, { text: 'THREE' }],
        [3, { text: 'four' }],
      ],
    )

    const http = w.http('POST', 'messages', { token: alice.token, body: { to, content: { text: 'five' } } })
    await until('it is shown', () => shown.length === 5)
    answer(shown[4]!, { action: 'reject' })
    t.match(await http, { status: 422, body: { code: 'message_rejected' } })

    // Replaced, and sent again: a retry is known by what was sent.
    const body = { to, content: { text: 'three' }, clientId: 'three' }
    const retry = w.http('POST', 'messages', { token: alice.token, body })
    await until('it is shown again', () => shown.length === 6)
    answer(shown[5]!, { action: 'reject' })
    t.match(await retry, { status: 202, body: { seq: 2, duplicate: true } }, 'what was accepted stays so')

    await w.http('PUT', `blocks/${carol.name}`, { token: bob.token })
    const blocked = await w.http('POST', 'messages', { token: carol.token, body })
    t.match(blocked, { status: 403, body: { code: 'blocked' } })
    t.equal(shown.length, 6, 'what may not be sent is shown to nobody')

    stop()
    const refused = await w.http('POST', 'messages', { token: alice.token, body: { to, content: { text: 'x' } } })
    t.match(refused, { status: 503, body: { code: 'unavailable' } })
    t.ok(Number(refused.headers.get('retry-after')) > 0)
  },
)

t.test('a hook that is dead or silent lets messages pass, where that is the set answer', async (t) => {
  const { shown, env, stop } = await hook(t)
  const w = await world(t, { env: { ...env, TIDINGS_PRE_SEND_DEADLINE_MS: '1000' } })
  const [alice, bob] = [await w.user(), await w.user()]
  t.match(await alice.send(bob), { seq: 1 })
  t.equal(shown.length, 1, 'it was asked')
  stop()
  t.match(await alice.send(bob), { seq: 2 })
})

t.test('a URL without a secret does not start', async (t) => {
  await t.rejects(world(t, { env: { TIDINGS_PRE_SEND_URL: 'http://127.0.0.1:1/' } }), {
    message: /TIDINGS_PRE_SEND_SECRET is not set/,
  })
})
