/** The transport on ws, for machines where no native build of uWebSockets.js loads. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket as NetSocket } from 'node:net'
import { Close } from '@tidings/protocol'
import { type RawData, WebSocket, WebSocketServer } from 'ws'
import { type HttpAnswer, headersOf, plainAnswer } from './plain-answer.js'
import { portTaken } from './port.js'
import {
  CLOSE_WAIT_MS,
  type PlainRequest,
  type SendResult,
  type Socket,
  type Transport,
  type TransportOptions,
  type UpgradeRequest,
  WEBSOCKET_VERSION,
} from './transport.js'

class WsSocket implements Socket {
  closed = false

  constructor(
    private readonly ws: WebSocket,
    private readonly net: NetSocket,
    private readonly maxBufferedBytes: number,
    private readonly onDrain: () => void,
  ) {}

  send(frame: string | Uint8Array): SendResult {
    if (this.ws.readyState !== WebSocket.OPEN) return 'dropped'
    if (this.ws.bufferedAmount > 0 && this.ws.bufferedAmount + frame.length > this.maxBufferedBytes) return 'dropped'
    this.ws.send(frame, { binary: false }, this.#afterWrite)
    return this.ws.bufferedAmount > 0 ? 'buffered' : 'sent'
  }

  sendAll(frames: readonly (string | Uint8Array)[]): SendResult {
    const { readyState, bufferedAmount: waiting } = this.ws
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
    if (readyState !== WebSocket.OPEN || (waiting > 0 && waiting + bytes > this.maxBufferedBytes)) return 'dropped'
    // What is corked counts as waiting: whether the reader takes it is seen afterwards.
    this.net.cork()
    for (const frame of frames) this.ws.send(frame, { binary: false }, this.#afterWrite)
    this.net.uncork()
    return this.ws.bufferedAmount > 0 ? 'buffered' : 'sent'
  }

  ping(): void {
    if (this.ws.readyState === WebSocket.OPEN) this.ws.ping()
  }

  buffered(): number {
    return this.ws.bufferedAmount
  }

  close(code: number, reason: string): void {
    if (this.ws.readyState !== WebSocket.OPEN) return
    this.ws.close(code, reason)
    setTimeout(() => {
      if (!this.closed) this.ws.terminate()
    }, CLOSE_WAIT_MS).unref()
  }

  readonly #afterWrite = (): void => {
    if (this.ws.bufferedAmount === 0) this.onDrain()
  }
}

function readRequest(request: IncomingMessage): UpgradeRequest {
  const { headers } = request
  const url = request.url ?? '/'
  const mark = url.indexOf('?')
  return {
    header: (name) => {
      const value = headers[name]
      return Array.isArray(value) ? value.join(', ') : (value ?? '')
    },
    query: new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1)),
    address: request.socket.remoteAddress ?? '',
  }
}

const STATUS_TEXT: Record<number, string> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  503: 'Service Unavailable',
}

function refuseUpgrade(socket: NetSocket, found: HttpAnswer): void {
  const { status, body } = found
  const lines = Object.entries(headersOf(found)).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_TEXT[status] ?? 'Refused'}\r\n${lines.join('')}` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

export async function startWsTransport(options: TransportOptions): Promise<Transport> {
  const { path, subprotocol, onError } = options
  let refusing = false
  const wss = new WebSocketServer({
    noServer: true,
    maxPayload: options.maxFrameBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  })
  const server = createServer((request, response) => {
    const { method = 'GET' } = request
    const asked = request.url?.split('?')[0] ?? '/'
    if (asked === path) return answer(response, plainAnswer(method === 'GET' ? 'not-an-upgrade' : 'method'))
    if (refusing) return answer(response, plainAnswer('draining'))
    void answerLater(response, { ...readRequest(request), method, path: asked })
  })

  async function answerLater(response: ServerResponse, request: PlainRequest): Promise<void> {
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    try {
      const answered = await options.http(request, gone.signal)
      if (!gone.signal.aborted) answer(response, answered)
    } catch (error) {
      onError(error)
      response.destroy()
    }
  }

  server.on('upgrade', (request: IncomingMessage, net: NetSocket, head: Buffer) => {
    net.on('error', () => net.destroy())
    if (request.url?.split('?')[0] !== path) return refuseUpgrade(net, plainAnswer('not-found'))
    if (refusing) return refuseUpgrade(net, plainAnswer('draining'))
    if (request.headers['sec-websocket-version'] !== WEBSOCKET_VERSION)
      return refuseUpgrade(net, plainAnswer('bad-upgrade'))
    const asked = readRequest(request)
    const refusal = options.refuse(asked)
    if (refusal) return refuseUpgrade(net, refusal)
    wss.handleUpgrade(request, net, head, (ws) => openSocket(ws, net, asked))
  })

  function openSocket(ws: WebSocket, net: NetSocket, asked: UpgradeRequest): void {
    const socket = new WsSocket(ws, net, options.maxBufferedBytes, () => guard(() => events.drain()))
    const guard = (run: () => void): void => {
      try {
        run()
      } catch (error) {
        onError(error)
        socket.close(Close.Internal, 'internal error')
      }
    }
    const events = options.open(socket, asked)
    ws.on('message', (data: RawData, isBinary: boolean) => guard(() => events.message(data.toString(), isBinary)))
    ws.on('pong', () => guard(() => events.pong()))
    // ws closes by itself with the code of the fault (1002, 1007, 1009).
    ws.on('error', () => undefined)
    ws.on('close', (code: number) => {
      socket.closed = true
      guard(() => events.close(code))
    })
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', () => reject(portTaken(options)))
    server.listen(options.port, options.host, resolve)
  })
  const refuseNew = (): void => {
    refusing = true
    server.close()
  }
  return {
    name: 'ws',
    port: (server.address() as AddressInfo).port,
    refuseNew,
    async stop() {
      refuseNew()
      for (const ws of wss.clients) ws.terminate()
      server.closeAllConnections()
    },
  }
}

function answer(response: ServerResponse, found: HttpAnswer): void {
  response.writeHead(found.status, headersOf(found))
  response.end(found.body)
}
