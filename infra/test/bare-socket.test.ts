/** The generator's own WebSocket client, against a library's server: nothing that is shown may be lost or read wrong. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type Test, test } from 'tap'
import { type WebSocket, WebSocketServer } from 'ws'
import { BareSocket, BENCH_KEY } from '../src/bench/bare-socket.js'

interface Pair {
  client: BareSocket
  server: WebSocket
  /** What the client was shown, and why it was closed. */
  texts: string[]
  closed: string[]
  until(check: () => boolean): Promise<void>
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function until(check: () => boolean): Promise<void> {
  while (!check()) await turn()
}

async function open(t: Test): Promise<Pair> {
  const listening = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 1024 * 1024 })
  t.teardown(() => listening.close())
  await once(listening, 'listening')
  const texts: string[] = []
  const closed: string[] = []
  const client = new BareSocket(
    `ws://127.0.0.1:${(listening.address() as AddressInfo).port}/api/v1/ws?device=d`,
    'a.b.c',
    { text: (frame) => void texts.push(frame), closed: (why) => void closed.push(why) },
    '127.0.0.9',
  )
  t.teardown(() => client.terminate())
  const [server, request] = (await once(listening, 'connection')) as [WebSocket, { url: string; headers: object }]
  t.equal(request.url, '/api/v1/ws?device=d')
  t.match(request.headers, { authorization: 'Bearer a.b.c' })
  return { client, server, texts, closed, until }
}

test('frames of every length are shown whole and in order, both ways', async (t) => {
  const { client, server, texts, closed } = await open(t)
  const lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000, 2]
  const frames = [...lengths.map((length) => 'x'.repeat(length)), 'é€x'.repeat(70_000), 'last']
  for (const frame of frames) server.send(frame)
  await until(() => texts.length === frames.length)
  t.ok(texts.every((text, i) => text === frames[i]))

  const heard: string[] = []
  server.on('message', (data, isBinary) => void heard.push(isBinary ? 'binary' : String(data)))
  const said = ['{"op":"ack"}', 'é€'.repeat(20), 'x'.repeat(125), 'x'.repeat(126), 'x'.repeat(60_000)]
  for (const each of said) client.send(each)
  await until(() => heard.length === said.length)
  t.same(heard, said)
  t.same(closed, [])
})

test('a ping is answered with what it held; a close says why, once', async (t) => {
  const { server, closed } = await open(t)
  server.ping('are you there')
  const [payload] = (await once(server, 'pong')) as [Buffer]
  t.equal(String(payload), 'are you there')
  server.close(4409, 'replaced')
  await until(() => closed.length > 0)
  await once(server, 'close')
  t.same(closed, ['closed with 4409 replaced'])
})

test('who ends a connection is told nothing of it any more', async (t) => {
  const { client, server, texts, closed } = await open(t)
  client.terminate()
  client.send('late')
  const [code] = (await once(server, 'close')) as [number]
  t.equal(code, 1006)
  t.same([texts, closed], [[], []])
})

/** A server that answers the first bytes that come with these, one write each. */
async function answering(t: Test, ...writes: (string | Buffer)[]): Promise<{ texts: string[]; closed: string[] }> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.setNoDelay(true)
    socket.once('data', () => {
      void (async () => {
        for (const each of writes) {
          socket.write(each)
          await turn()
        }
      })()
    })
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const texts: string[] = []
  const closed: string[] = []
  const { port } = server.address() as AddressInfo
  const client = new BareSocket(`ws://127.0.0.1:${port}/`, 'token', {
    text: (frame) => void texts.push(frame),
    closed: (why) => void closed.push(why),
  })
  t.teardown(() => client.terminate())
  await until(() => closed.length > 0)
  return { texts, closed }
}

// Of the key that the client always shows.
const ACCEPTED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %\r\n\r\n'

test('what is no answer to the upgrade, or no frame of ours, is told', async (t) => {
  t.match(await answering(t, 'HTTP/1.1 401 Unauthorized\r\n', 'content-length: 0\r\n\r\n'), {
    closed: ['refused with 401'],
  })
  t.match(await answering(t, ACCEPTED.replace('%', 'wrong')), { closed: [/Sec-WebSocket-Accept/] })
})

test('bytes that come one by one make the same frames; masked, binary and split ones are no frames of ours', async (t) => {
  const accept = createHash('sha1').update(`${BENCH_KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  const head = ACCEPTED.replace('%', accept)
  const frame = (first: number, second: number, ...body: number[]) => Buffer.from([first, second, ...body])
  const hi = frame(0x81, 2, 0x68, 0x69)
  const drop = [...head, ...hi, ...frame(0x81, 126, 0, 3, 0x79, 0x6f, 0x75), ...frame(0x88, 2, 0x03, 0xe8)].map(
    (byte) => (typeof byte === 'string' ? byte : Buffer.from([byte])),
  )
  t.same(await answering(t, ...drop), { texts: ['hi', 'you'], closed: ['closed with 1000 '] })
  for (const [bytes, why] of [
    [frame(0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69), /masked, extended or in fragments/],
    [frame(0x01, 2, 0x68, 0x69), /masked, extended or in fragments/],
    [frame(0xc1, 2, 0x68, 0x69), /masked, extended or in fragments/],
    [frame(0x82, 2, 0x68, 0x69), /opcode 2/],
  ] as const)
    t.match(await answering(t, Buffer.concat([Buffer.from(head), hi, bytes, hi])), { texts: ['hi'], closed: [why] })
})
