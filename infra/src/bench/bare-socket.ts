/**
 * A WebSocket client (RFC 6455) as cheap as it gets: the generator shares its cores with the servers it measures, and opening a hundred
 * thousand sockets by a library costs as much as serving them. It checks what it is told, and nothing that our servers never do works:
 * frames in fragments, extensions, binary frames.
 */
import { createHash } from 'node:crypto'
import { connect, type Socket } from 'node:net'

export interface BareSocketEvents {
  text(frame: string): void
  /** Told once, also when it did not open at all. Not after `terminate`. */
  closed(why: string): void
}

/** What the key is for, keeping caches from answering, needs no other one for each socket (1.3 of the RFC). */
export const BENCH_KEY = 'dGlkaW5ncy1iZW5jaC0wMQ=='
const ACCEPT = createHash('sha1').update(`${BENCH_KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
const END_OF_HEAD = '\r\n\r\n'
const OPEN_MS = 30_000

const FIN = 0x80
const MASKED = 0x80
const OPCODE = 0x0f
const Opcode = { text: 1, close: 8, ping: 9, pong: 10 } as const
/** Lengths from here on are written into two bytes more, and those from 65,536 on into eight. */
const TWO_BYTES = 126
const EIGHT_BYTES = 127
const MASK_BYTES = 4

/** What is read is dealt with before the next socket is read: one buffer is enough for all. */
const READ_INTO = Buffer.allocUnsafeSlow(256 * 1024)

/** One connection. */
export class BareSocket {
  readonly #socket: Socket
  readonly #timer: NodeJS.Timeout
  #open = false
  #over = false
  /** What came of a head or a frame that is not whole yet. */
  #rest: Buffer | undefined

  /** @param localAddress source address of the connection */
  constructor(
    url: string,
    token: string,
    private readonly events: BareSocketEvents,
    localAddress?: string,
  ) {
    const { hostname, port, host, pathname, search } = new URL(url)
    this.#socket = connect({
      ...{ host: hostname, port: Number(port), noDelay: true },
      ...(localAddress !== undefined && { localAddress }),
      onread: {
        buffer: READ_INTO,
        callback: (bytes) => {
          this.#read(READ_INTO.subarray(0, bytes))
          return true
        },
      },
    })
    this.#timer = setTimeout(() => this.#end('not open in time'), OPEN_MS)
    this.#socket.on('error', (error) => this.#end(error.message))
    this.#socket.on('close', () => this.#end('the connection was closed'))
    this.#socket.write(
      `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${BENCH_KEY}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer ${token}${END_OF_HEAD}`,
      'latin1',
    )
  }

  /** Sends a text frame. */
  send(text: string): void {
    this.#write(Opcode.text, Buffer.from(text))
  }

  /** Ends the connection without a close frame. */
  terminate(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#rest = undefined
    this.#socket.destroy()
  }

  #end(why: string): void {
    if (this.#over) return
    this.terminate()
    this.events.closed(why)
  }

  #read(chunk: Buffer): void {
    const data = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk
    let from = this.#open ? 0 : this.#readHead(data)
    while (this.#open && !this.#over) {
      const next = this.#readFrame(data, from)
      if (next < 0) break
      from = next
    }
    // A copy, for the next socket is read into the same buffer.
    this.#rest = from < data.length && !this.#over ? Buffer.from(data.subarray(from)) : undefined
  }

  /** @returns how many bytes it had, 0 as long as it is not whole */
  #readHead(data: Buffer): number {
    const end = data.indexOf(END_OF_HEAD)
    if (end < 0) return 0
    const head = data.toString('latin1', 0, end)
    if (!head.startsWith('HTTP/1.1 101 ')) this.#end(`refused with ${head.slice(9, 12)}`)
    else if (!head.includes(ACCEPT)) this.#end('Sec-WebSocket-Accept is not what the key wants')
    clearTimeout(this.#timer)
    this.#open = true
    return end + END_OF_HEAD.length
  }

  /** @returns where the next one begins, -1 when this one is not whole */
  #readFrame(data: Buffer, from: number): number {
    if (data.length < from + 2) return -1
    const short = data[from + 1]!
    let body = from + 2
    let length = short
    if (short === TWO_BYTES) {
      if (data.length < body + 2) return -1
      length = data.readUInt16BE(body)
      body += 2
    } else if (short === EIGHT_BYTES) {
      if (data.length < body + 8) return -1
      length = Number(data.readBigUInt64BE(body))
      body += 8
    }
    if (short > EIGHT_BYTES || (data[from]! & ~OPCODE) !== FIN) {
      this.#end('a frame that is masked, extended or in fragments')
      return -1
    }
    const end = body + length
    if (data.length < end) return -1
    this.#frame(data[from]! & OPCODE, data, body, end)
    return end
  }

  #frame(opcode: number, data: Buffer, from: number, to: number): void {
    if (opcode === Opcode.text) this.events.text(data.toString('utf8', from, to))
    else if (opcode === Opcode.ping) this.#write(Opcode.pong, data.subarray(from, to))
    else if (opcode === Opcode.close && to - from >= 2)
      this.#end(`closed with ${data.readUInt16BE(from)} ${data.toString('utf8', from + 2, to)}`)
    else this.#end(`a frame with opcode ${opcode}`)
  }

  /** Masked with zeros, which changes nothing: a mask is against proxies, of which there is none (10.3 of the RFC). */
  #write(opcode: number, body: Buffer): void {
    if (this.#over) return
    const long = body.length >= TWO_BYTES
    const head = Buffer.alloc((long ? 4 : 2) + MASK_BYTES)
    head[0] = FIN | opcode
    head[1] = MASKED | (long ? TWO_BYTES : body.length)
    if (long) head.writeUInt16BE(body.length, 2)
    this.#socket.write(Buffer.concat([head, body]))
  }
}
