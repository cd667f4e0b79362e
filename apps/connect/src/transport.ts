/** What connect needs of a WebSocket server, whichever stands behind it: uWebSockets.js (socket.ts) or ws (socket-ws.ts). */

import type { HttpAnswer } from './plain-answer.js'

/** Of the WebSocket protocol: RFC 6455, section 4.1. */
export const WEBSOCKET_VERSION = '13'

/** The headers that are looked at; copying all of them out of each request costs more than all else of an upgrade. */
export const HEADERS = [
  'authorization',
  'host',
  'origin',
  'sec-websocket-protocol',
  'x-forwarded-for',
  'x-request-id',
] as const
export type HeaderName = (typeof HEADERS)[number]

/** What a client asked for when it connected, copied out of the request. */
export interface UpgradeRequest {
  /** '' when missing. */
  header(name: HeaderName): string
  query: URLSearchParams
  /** Address of the other end of the socket. */
  address: string
}

/** A request that is no upgrade. */
export interface PlainRequest extends UpgradeRequest {
  /** In upper case. */
  method: string
  path: string
}

/** `dropped`: the socket's buffer is full and the frame is gone; nothing more must be sent. */
export type SendResult = 'sent' | 'buffered' | 'dropped'

/** One socket. All methods do nothing once it is closed. */
export interface Socket {
  send(frame: string | Uint8Array): SendResult
  /** Sends several frames with as few system calls as possible. `dropped`: not all of them fitted. */
  sendAll(frames: readonly (string | Uint8Array)[]): SendResult
  ping(): void
  /** Bytes that wait for the reader. */
  buffered(): number
  /** How long a reader may take nothing at all while bytes wait for it; where it is left out, as long as one that reads all the time. */
  readonly patienceMs?: number
  /** Sends a close frame and ends the connection, by force when the other side does not read. */
  close(code: number, reason: string): void
  readonly closed: boolean
}

export interface SocketEvents {
  /** @param data a copy, good after the call */
  message(data: string, isBinary: boolean): void
  pong(): void
  /** There is room in the buffer again. */
  drain(): void
  /** Called once. */
  close(code: number): void
}

export interface TransportOptions {
  host: string
  port: number
  /** Largest message accepted, in bytes; above it the socket is closed with 1009. */
  maxFrameBytes: number
  /** Most bytes that may wait for a reader. */
  maxBufferedBytes: number
  /** Subprotocol that is confirmed when a client offers it. */
  subprotocol: string
  /** Path of the WebSocket. */
  path: string
  /** Refuses an upgrade with an HTTP status and a problem document, or lets it pass with undefined. Must not wait. */
  refuse(request: UpgradeRequest): HttpAnswer | undefined
  /**
   * Answers a request that is no upgrade, on any other path.
   * @param gone the client has hung up: nobody reads the answer
   */
  http(request: PlainRequest, gone: AbortSignal): HttpAnswer | Promise<HttpAnswer>
  /** A socket is open; the answer is told of all that happens to it. */
  open(socket: Socket, request: UpgradeRequest): SocketEvents
  /** An event handler threw: a bug. The socket is closed. */
  onError(error: unknown): void
}

export interface Transport {
  readonly name: 'uws' | 'ws'
  readonly port: number
  /** Accepts nobody new; open sockets stay. */
  refuseNew(): void
  /** Ends what is left, by force. */
  stop(): Promise<void>
}

/** How long a closed socket may take to say goodbye. */
export const CLOSE_WAIT_MS = 3_000
