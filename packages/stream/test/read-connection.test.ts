import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { startRedis } from '@tidings/infra'
import { given } from '@tidings/service/test-env'
import t, { type Test } from 'tap'
import { ReadConnection } from '../src/read-connection.js'
import { createReader, type Reader } from '../src/reader.js'
import type { Redis } from '../src/redis.js'
import { log } from './stores.js'

function addressIn(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port) }
}

async function open(t: Test): Promise<ReadConnection> {
  const connection = await ReadConnection.open(addressIn(given('TIDINGS_REDIS_URL')))
  t.teardown(() => connection.disconnect())
  return connection
}

/** A server that takes connections and answers what the test says. */
async function silent(t: Test, answer?: (socket: Socket, bytes: Buffer) => void): Promise<AddressInfo> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => answer?.(socket, bytes))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return server.address() as AddressInfo
}

t.test('replies come as strings, numbers, null and arrays, whatever their size and characters', async (t) => {
  const connection = await open(t)
  const text = `${'👩‍👩‍👧‍👦 汉字 \r\n$5 '.repeat(20_000)}end`
  t.same(await connection.call('EVAL', "return { ARGV[1], 7, false, { 'a' } }", 0, text), [text, 7, null, ['a']])
  t.equal(await connection.call('GET', 'nothing-is-here'), null)
})

t.test('a refusal is an error with Redis’ words, and the connection goes on', async (t) => {
  const connection = await open(t)
  await t.rejects(connection.call('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', 'no-such-stream', '>'), {
    message: /^NOGROUP /,
  })
  t.equal(await connection.call('PING'), 'PONG')
})

t.test('commands that go together leave in one write and are answered each by its own, refused or not', async (t) => {
  const writes: string[] = []
  const { port } = await silent(t, (socket, bytes) => {
    writes.push(String(bytes))
    socket.write('+one\r\n-ERR two\r\n$-1\r\n')
  })
  const connection = await ReadConnection.open({ host: '127.0.0.1', port })
  t.teardown(() => connection.disconnect())
  const answers: Promise<unknown>[] = []
  connection.together(() => {
    for (const word of ['A', 'B', 'C']) answers.push(connection.call(word))
  })
  const [one, two, three] = await Promise.allSettled(answers)
  t.match([one, three], [{ value: 'one' }, { value: null }])
  t.match(two, { status: 'rejected', reason: { message: 'ERR two' } })
  t.same(writes, ['*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n*1\r\n$1\r\nC\r\n'])
})

t.test('it logs in, and chooses its database', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { host, port } = addressIn(redis.url)
  const admin = await ReadConnection.open({ host, port })
  t.teardown(() => admin.disconnect())
  await admin.call('CONFIG', 'SET', 'requirepass', 'a b:c@d')
  const connection = await ReadConnection.open({ host, port, password: 'a b:c@d', db: 3 })
  t.teardown(() => connection.disconnect())
  t.match(await connection.call('CLIENT', 'INFO'), / db=3 /)
  await t.rejects(ReadConnection.open({ host, port, username: 'eve', password: 'a b:c@d' }), {
    message: /^WRONGPASS (?!.*a b:c@d)/,
  })
})

t.test('a cut, nonsense, and disconnecting end it and what waits; later commands are refused', async (t) => {
  const cut = await silent(t, (socket) => socket.destroy())
  const one = await ReadConnection.open({ host: '127.0.0.1', port: cut.port })
  await t.rejects(one.call('PING'), { message: /closed|ECONNRESET/ })
  await t.rejects(one.call('PING'), { message: /closed|ECONNRESET/ })
  const nonsense = await silent(t, (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
  const two = await ReadConnection.open({ host: '127.0.0.1', port: nonsense.port })
  await t.rejects(two.call('PING'), { message: /^Protocol error/ })
  const mute = await silent(t)
  let ends = 0
  const three = await ReadConnection.open({ host: '127.0.0.1', port: mute.port }, () => ends++)
  const waiting = [three.call('PING'), three.call('PING')]
  three.disconnect()
  three.disconnect()
  for (const each of waiting) await t.rejects(each, { message: 'The connection to Redis was ended.' })
  t.equal(ends, 1, 'whoever keeps it is told once')
  await t.rejects(ReadConnection.open({ host: '127.0.0.1', port: 1 }), { code: 'ECONNREFUSED' })
})

t.test('a reply that does not come ends it', { timeout: 30_000 }, async (t) => {
  const { port } = await silent(t)
  const connection = await ReadConnection.open({ host: '127.0.0.1', port })
  await t.rejects(connection.call('PING'), { message: 'Redis did not answer in time.' })
})

for (const [what, act] of [
  ['stopped', ({ reader }) => reader.stop()],
  ['told that another server has taken over', ({ ready }) => ready()],
] satisfies [string, (given: { reader: Reader; ready(): void }) => void][]) {
  t.test(`a reader that is ${what} while it connects leaves no connection behind`, async (t) => {
    let ended = (): void => undefined
    const left = new Promise<void>((resolve) => {
      ended = resolve
    })
    let ready = (): void => undefined
    const address = await silent(t, (socket) => {
      socket.once('close', ended)
      act({ reader, ready })
      socket.write(':7\r\n')
    })
    const options = { host: '127.0.0.1', port: address.port }
    const on = (_: string, tell: () => void): void => {
      ready = tell
    }
    const reader = createReader({ redis: { options, on, off: () => undefined } as unknown as Redis, key: 'any', log })
    await t.rejects(
      reader.read(async () => t.fail('it reads')),
      { message: /while it connected/ },
    )
    await left
  })
}

t.end()
