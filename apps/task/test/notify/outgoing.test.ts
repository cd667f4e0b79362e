/** Where a request may go, and how long and how much it may take. */
import { lookup } from 'node:dns/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { closeAgents, createAgents, createPost } from '../../src/notify/outgoing.js'

async function listen(t: Test, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

function open(t: Test, allowPrivate: boolean, withinMs?: number) {
  const agents = createAgents(allowPrivate)
  t.teardown(() => closeAgents(agents))
  return createPost(agents, withinMs)
}

t.test('no address that is not public is reached, however it is written', async (t) => {
  let reached = 0
  const server = createServer((_request, response) => {
    reached++
    response.end()
  })
  server.on('connection', () => reached++)
  const port = await listen(t, server)
  const post = open(t, false)
  const { address } = await lookup('localhost')
  t.match(address, /^(127\.|::1)/, 'a name that stands for a private address')
  for (const host of [
    ...['127.0.0.1', '169.254.169.254', '10.0.0.1', '192.168.1.1', '0.0.0.0', 'localhost'],
    ...['[::1]', '[::ffff:127.0.0.1]', '[fd00::1]', '[fe80::1]', '[::]'],
    // One number, hexadecimal, octal, and with parts left out.
    ...['2130706433', '0x7f000001', '0177.0.0.1', '127.1'],
  ]) {
    await t.rejects(
      post({ url: `https://${host}:${port}/`, headers: {}, body: '{}' }),
      { message: /not allowed/ },
      host,
    )
  }
  t.equal(reached, 0)
})

t.test('http is for networks of one’s own', async (t) => {
  let reached = 0
  const port = await listen(
    t,
    createServer((_request, response) => {
      reached++
      response.writeHead(204).end()
    }),
  )
  const outgoing = { url: `http://127.0.0.1:${port}/`, headers: {}, body: '{}' }
  await t.rejects(open(t, false)(outgoing), { message: /only https/ })
  t.equal(reached, 0)
  t.equal((await open(t, true)(outgoing)).status, 204)
})

t.test('an answer is waited for no longer than the deadline, before and after its head', async (t) => {
  const port = await listen(
    t,
    createServer((request, response) => {
      if (request.url === '/half') response.writeHead(200).write('a')
    }),
  )
  const post = open(t, true, 200)
  for (const path of ['/nothing', '/half']) {
    const began = performance.now()
    await t.rejects(post({ url: `http://127.0.0.1:${port}${path}`, headers: {}, body: '{}' }), path)
    t.ok(performance.now() - began < 5_000, 'and not at its leisure')
  }
})

t.test('a redirect is an answer, and a long answer is not read', async (t) => {
  let sent = 0
  const paths: string[] = []
  const port = await listen(
    t,
    createServer((request, response) => {
      paths.push(request.url!)
      if (request.url === '/moved') {
        response.writeHead(307, { location: '/elsewhere' }).end()
        return
      }
      response.writeHead(200)
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) sent += 65_536
        response.once('drain', more)
      }
      more()
    }),
  )
  const post = open(t, true)
  t.equal((await post({ url: `http://127.0.0.1:${port}/moved`, headers: {}, body: '{}' })).status, 307)
  t.equal((await post({ url: `http://127.0.0.1:${port}/long`, headers: {}, body: '{}' })).status, 200)
  t.same(paths, ['/moved', '/long'])
  t.ok(sent < 50_000_000, `${sent} bytes`)
})

t.test('a connection that is given to another protocol, or closed, is no answer, and is not waited for', async (t) => {
  const port = await listen(
    t,
    createServer(({ url, socket }) => {
      if (url === '/close') socket.destroy()
      else socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n')
    }),
  )
  // Far beyond the test's own end: what is waited for is seen.
  const post = open(t, true, 3_600_000)
  const at = (path: string) => post({ url: `http://127.0.0.1:${port}${path}`, headers: {}, body: '{}' })
  await t.rejects(at('/upgrade'), { message: 'the connection closed without an answer' })
  await t.rejects(at('/close'))
})

t.test('Retry-After is read as seconds and as a date', async (t) => {
  const port = await listen(
    t,
    createServer((request, response) => {
      const after = request.url === '/date' ? new Date(Date.now() + 60_000).toUTCString() : '7'
      response.writeHead(429, { 'retry-after': after }).end()
    }),
  )
  const post = open(t, true)
  const at = (path: string) => post({ url: `http://127.0.0.1:${port}${path}`, headers: {}, body: '{}' })
  t.same(await at('/seconds'), { status: 429, retryAfterMs: 7_000 })
  const { retryAfterMs } = await at('/date')
  t.ok(retryAfterMs > 50_000 && retryAfterMs <= 60_000)
})
