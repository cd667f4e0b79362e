/** A connect node that stops tells its clients when to come back, whatever else goes on. */
import { type AddressInfo, connect, createServer } from 'node:net'
import { startEtcd } from '@tidings/infra'
import t, { type Test } from 'tap'
import { world } from '../src/index.js'

t.test('a connect node that drains tells its clients when to come back', async (t) => {
  const w = await world(t, { processes: true })
  const alice = await w.user()
  const socket = await alice.connect()
  const stopping = w.processes.get('connect-1')!.stop()
  const { after } = await socket.next('reconnect')
  t.ok(Number(after) >= 0 && Number(after) <= 5_000)
  t.equal(await socket.closed(), 1012)
  t.equal(await stopping, 0)
})

t.test('a connect node that is stopped while etcd is away tells its clients, too', async (t) => {
  const etcd = await startEtcd()
  t.teardown(() => etcd.stop())
  const w = await world(t, { processes: true, stores: { etcdUrl: etcd.url } })
  const alice = await w.user()
  const socket = await alice.connect()
  await etcd.kill()
  const stopping = w.processes.get('connect-1')!.stop()
  await socket.next('reconnect')
  t.equal(await socket.closed(), 1012)
  await stopping
})

t.test('a connect node whose clients go on sending tells them, too', async (t) => {
  const w = await world(t, { processes: true })
  const to = new URL(w.env.TIDINGS_REDIS_URL!)
  const port = await distant(t, Number(to.port))
  await w.start('connect', { TIDINGS_REDIS_URL: `redis://127.0.0.1:${port}` })
  const [alice, bob] = [await w.user(), await w.user()]
  const socket = await alice.connect({ node: 1 })
  let n = 0
  const sending = setInterval(() => {
    if (socket.ws.readyState !== socket.ws.OPEN) return
    socket.send({ op: 'send', to: { user: bob.name }, content: {}, clientId: `c-${n++}` })
  }, 5)
  t.teardown(() => clearInterval(sending))
  await socket.next('sent')
  const stopping = w.processes.get('connect-2')!.stop()
  await socket.next('reconnect')
  t.equal(await socket.closed(), 1012)
  t.equal(await stopping, 0)
})

/** A way to a port that is long enough for sends to come while others are on it: there is no moment at which none waits. */
async function distant(t: Test, toPort: number): Promise<number> {
  const server = createServer((near) => {
    const far = connect({ host: '127.0.0.1', port: toPort })
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (bytes) => setTimeout(() => to.write(bytes), 50))
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}
