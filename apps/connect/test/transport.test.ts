/** What both transports owe to whoever stands behind them. */
import t from 'tap'
import { WebSocket } from 'ws'
import { loadUws, startUwsTransport } from '../src/socket.js'
import { startWsTransport } from '../src/socket-ws.js'
import type { Transport, TransportOptions } from '../src/transport.js'
import { until } from './until.js'

const TRANSPORTS: Record<string, (options: TransportOptions) => Promise<Transport>> = {
  async uws(options) {
    const uws = await loadUws()
    if (!uws) throw new Error('there is no native build of uWebSockets.js for this Node.js')
    return startUwsTransport(uws, options)
  },
  ws: startWsTransport,
}

for (const [name, start] of Object.entries(TRANSPORTS)) {
  t.test(`who refuses a socket as it opens is told of its end, once (${name})`, async (t) => {
    const ends: number[] = []
    const transport = await start({
      ...{ host: '127.0.0.1', port: 0, path: '/ws', subprotocol: 'test' },
      ...{ maxFrameBytes: 1_000, maxBufferedBytes: 100_000 },
      refuse: () => undefined,
      http: () => ({ status: 404, headers: {}, body: '' }),
      open(socket) {
        socket.close(4403, 'refused')
        return { message() {}, pong() {}, drain() {}, close: (code) => void ends.push(code) }
      },
      onError: (error) => t.fail(String(error)),
    })
    t.after(() => transport.stop())
    const codes: number[] = []
    for (let sockets = 1; sockets <= 4; sockets++) {
      new WebSocket(`ws://127.0.0.1:${transport.port}/ws`).on('close', (code) => codes.push(code))
      await until('it is closed, on both sides', () => codes.length === sockets && ends.length >= sockets)
      // Whatever was told of the ones before was told by now.
      t.equal(ends.length, sockets)
    }
    t.same(codes, [4403, 4403, 4403, 4403])
  })
}
