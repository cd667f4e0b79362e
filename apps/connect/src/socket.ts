/** The transport on uWebSockets.js. The only file that knows it. */
import type { HttpRequest, HttpResponse, us_listen_socket, WebSocket } from 'uWebSockets.js'
import { Close } from '@tidings/protocol'
import { type HttpAnswer, headersOf, plainAnswer } from './plain-answer.js'
import { portTaken, probePort } from './port.js'
import {
  CLOSE_WAIT_MS,
  HEADERS,
  type PlainRequest,
  type SendResult,
  type Socket,
  type SocketEvents,
  type Transport,
  type TransportOptions,
  type UpgradeRequest,
  WEBSOCKET_VERSION,
} from './transport.js'

type Uws = typeof import('uWebSockets.js')

/**
 * uWebSockets.js cuts the connection at what is larger than it may read, without a close frame. So it reads more than a frame may
 * have, and what lies between is refused here, with the code that tells a client why. Nobody needs to be told beyond this.
 */
const READ_BYTES = 1024 * 1024
/** The code of a connection that has ended without one (RFC 6455, 7.1.5). */
const ABNORMAL = 1006

/** Is there a native build for this Node.js? The package falls back to JavaScript that is not complete, so it is asked first. */
export async function loadUws(): Promise<Uws | undefined> {
  const { createRequire } = await import('node:module')
  const require = createRequire(import.meta.url)
  const { platform, arch, versions } = process
  try {
    // The package's own rule for its binary's name; requiring it first keeps its fallback from loading.
    require(`uWebSockets.js/binaries/uws_${platform}_${arch}_${versions.modules}.node`)
    return require('uWebSockets.js') as Uws
  } catch (error) {
    if (error instanceof Error) return undefined
    throw error
  }
}

interface UserData {
  /** Until the socket is open; then it is let go. */
  request: UpgradeRequest | undefined
  socket: UwsSocket | undefined
  events: SocketEvents | undefined
}

class UwsSocket implements Socket {
  closed = false
  #ending = false

  constructor(private readonly ws: WebSocket<UserData>) {}

  send(frame: string | Uint8Array): SendResult {
    if (this.closed || this.#ending) return 'dropped'
    // 1: written, 0: buffered, 2: dropped because the buffer is full.
    const result = this.ws.send(frame, false)
    return result === 1 ? 'sent' : result === 0 ? 'buffered' : 'dropped'
  }

  sendAll(frames: readonly (string | Uint8Array)[]): SendResult {
    if (this.closed || this.#ending) return 'dropped'
    let fits = true
    this.ws.cork(() => {
      fits = frames.every((frame) => this.send(frame) !== 'dropped')
    })
    // What is corked counts as written: whether the reader takes it is seen afterwards.
    return !fits ? 'dropped' : this.buffered() > 0 ? 'buffered' : 'sent'
  }

  ping(): void {
    if (!this.closed && !this.#ending) this.ws.ping()
  }

  buffered(): number {
    return this.closed ? 0 : this.ws.getBufferedAmount()
  }

  close(code: number, reason: string): void {
    if (this.closed || this.#ending) return
    this.#ending = true
    // A reader that does not read never gets the close frame: then the connection is cut.
    const cut = setTimeout(() => {
      if (!this.closed) this.ws.close()
    }, CLOSE_WAIT_MS)
    cut.unref()
    this.ws.end(code, reason)
  }
}

function readRequest(res: HttpResponse, req: HttpRequest): UpgradeRequest {
  const headers = new Map(HEADERS.map((name) => [name, req.getHeader(name)]))
  return {
    header: (name) => headers.get(name) ?? '',
    query: new URLSearchParams(req.getQuery()),
    address: Buffer.from(res.getRemoteAddressAsText()).toString(),
  }
}

const offers = (header: string, subprotocol: string): boolean =>
  header.split(',').some((name) => name.trim() === subprotocol)

export async function startUwsTransport(uws: Uws, options: TransportOptions): Promise<Transport> {
  const { path, maxFrameBytes, maxBufferedBytes, onError } = options
  const decoder = new TextDecoder()
  const open = new Set<WebSocket<UserData>>()
  let refusing = false
  let listening: us_listen_socket | undefined

  /** Runs an event of a socket; a bug in it ends that socket alone. */
  function guard(ws: WebSocket<UserData>, run: (data: UserData) => void): void {
    const data = ws.getUserData()
    try {
      run(data)
    } catch (error) {
      onError(error)
      data.socket?.close(Close.Internal, 'internal error')
    }
  }

  const app = uws.App()
  app.ws<UserData>(path, {
    maxPayloadLength: READ_BYTES + maxFrameBytes,
    maxBackpressure: maxBufferedBytes,
    closeOnBackpressureLimit: 0,
    idleTimeout: 0,
    sendPingsAutomatically: false,
    compression: uws.DISABLED,
    upgrade(res, req, context) {
      const request = readRequest(res, req)
      const key = req.getHeader('sec-websocket-key')
      const version = req.getHeader('sec-websocket-version')
      const offered = req.getHeader('sec-websocket-protocol')
      const extensions = req.getHeader('sec-websocket-extensions')
      const refusal = refusing
        ? plainAnswer('draining')
        : key === '' || version !== WEBSOCKET_VERSION
          ? plainAnswer('bad-upgrade')
          : options.refuse(request)
      if (refusal) return answer(res, refusal)
      const protocol = offers(offered, options.subprotocol) ? options.subprotocol : ''
      res.upgrade<UserData>({ request, socket: undefined, events: undefined }, key, protocol, extensions, context)
    },
    open(ws) {
      open.add(ws)
      guard(ws, (data) => {
        const socket = new UwsSocket(ws)
        data.socket = socket
        if (data.request) data.events = options.open(socket, data.request)
        data.request = undefined
        // It was refused at once: it was closed before anybody could be told.
        if (socket.closed) data.events?.close(ABNORMAL)
      })
    },
    message(ws, message, isBinary) {
      guard(ws, (data) => {
        if (message.byteLength > maxFrameBytes) data.socket?.close(Close.TooLarge, 'frame too large')
        else data.events?.message(decoder.decode(message), isBinary)
      })
    },
    pong(ws) {
      guard(ws, (data) => data.events?.pong())
    },
    drain(ws) {
      guard(ws, (data) => data.events?.drain())
    },
    close(ws, code) {
      open.delete(ws)
      guard(ws, (data) => {
        if (data.socket) data.socket.closed = true
        data.events?.close(code)
      })
    },
  })
  app.any('/*', (res, req) => {
    const method = req.getMethod().toUpperCase()
    if (req.getUrl() === path) return answer(res, plainAnswer(method === 'GET' ? 'not-an-upgrade' : 'method'))
    if (refusing) return answer(res, plainAnswer('draining'))
    void answerLater(res, { ...readRequest(res, req), method, path: req.getUrl() })
  })

  async function answerLater(res: HttpResponse, request: PlainRequest): Promise<void> {
    const gone = new AbortController()
    res.onAborted(() => gone.abort())
    try {
      const answered = await options.http(request, gone.signal)
      if (!gone.signal.aborted) answer(res, answered)
    } catch (error) {
      onError(error)
      if (!gone.signal.aborted) res.close()
    }
  }

  // uWebSockets.js shares a taken port with its owner (SO_REUSEPORT) instead of failing: so ask first.
  await probePort(options.host, options.port)
  const port = await new Promise<number>((resolve, reject) => {
    app.listen(options.host, options.port, (token) => {
      if (!token) return reject(portTaken(options))
      listening = token
      resolve(uws.us_socket_local_port(token))
    })
  })
  const refuseNew = (): void => {
    refusing = true
    if (listening) uws.us_listen_socket_close(listening)
    listening = undefined
  }
  return {
    name: 'uws',
    port,
    refuseNew,
    async stop() {
      refuseNew()
      for (const ws of open) ws.close()
    },
  }
}

function answer(res: HttpResponse, found: HttpAnswer): void {
  const { status, body } = found
  res.cork(() => {
    res.writeStatus(String(status))
    for (const [name, value] of Object.entries(headersOf(found))) res.writeHeader(name, value)
    res.end(body, status >= 400)
  })
}
