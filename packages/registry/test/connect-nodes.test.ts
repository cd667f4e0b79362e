import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { nodeRpc, serve, startRpcServer } from '@tidings/protocol'
import t, { type Test } from 'tap'
import { createConnectNodes } from '../src/index.js'

/** A connect node, and how it is connected to. */
async function node(t: Test) {
  const ended: string[] = []
  const server = await startRpcServer({
    ...{ host: '127.0.0.1', port: 0, token: 'x' },
    services: [
      serve(nodeRpc.NodeDefinition, {
        async *push() {},
        async closeSession({ session }) {
          ended.push(session)
          return { found: true }
        },
        routed: async () => ({ entries: [], since: 0 }),
      }),
    ],
    onInternalError: (_path, error) => t.fail(String(error)),
  })
  t.teardown(() => server.stop())
  const open: Socket[] = []
  const port = Number(server.address.split(':').at(-1))
  const way = createServer((socket) => {
    open.push(socket)
    const onwards = connect(port, '127.0.0.1')
    socket.on('error', () => undefined).on('close', () => onwards.destroy())
    onwards.on('error', () => undefined).on('close', () => socket.destroy())
    socket.pipe(onwards).pipe(socket)
  })
  await new Promise<void>((resolve) => way.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void way.close())
  return { address: `127.0.0.1:${(way.address() as AddressInfo).port}`, ended, connections: open }
}

const closed = (socket: Socket): Promise<unknown> =>
  socket.destroyed ? Promise.resolve() : new Promise((resolve) => socket.once('close', resolve))

t.test('a node has one connection while it is listed, and another process of its name another one', async (t) => {
  const { address, ended, connections } = await node(t)
  const nodes = createConnectNodes('x')
  t.teardown(() => nodes.stop())
  const list = (...listed: [name: string, bootId: string][]): void =>
    nodes.set(new Map(listed.map(([name, bootId]) => [name, { address, version: '', bootId }])))
  const end = (session: string) => nodes.client('a')!.closeSession({ session, code: 4409 }, { deadlineMs: 5_000 })

  t.equal(nodes.client('a'), undefined, 'one that is not listed is not called')
  list(['b', '1'], ['a', '1'])
  t.same(nodes.names(), ['a', 'b'])
  t.equal(connections.length, 0, 'nothing is connected before it is needed')
  await end('s1')
  list(['a', '1'], ['c', '1'])
  await end('s2')
  t.equal(connections.length, 1, 'it is the same process')

  const first = nodes.client('a')!
  list(['a', '2'])
  await closed(connections[0]!)
  await end('s3')
  t.equal(connections.length, 2, 'another process')
  await t.rejects(first.closeSession({ session: 's4', code: 4409 }, { deadlineMs: 5_000 }))
  list()
  await closed(connections[1]!)
  t.equal(nodes.client('a'), undefined)
  t.same(ended, ['s1', 's2', 's3'])
})
