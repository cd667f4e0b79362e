/**
 * HTTP/1.1 over one kept connection, one call at a time, as cheap as it gets: the generator shares its cores with the servers it
 * measures, and node:http costs as much as they do.
 */
import { connect, type Socket } from 'node:net'
import { Failure } from '../failure.js'

export interface Reply {
  status: number
  body: string
}

/** The lines of a request that stay the same for a sender. */
export function headOf(method: string, path: string, host: string, token: string): string {
  return `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${token}\r\n`
}

const MAX_REST_MS = 30_000
const END_OF_HEAD = '\r\n\r\n'

/** A connection to the server. */
export class Line {
  #received = ''
  /** Characters that the reply has with its head; 0 as long as they are not known. */
  #expected = 0
  #bodyFrom = 0
  #waiting: { resolve(reply: Reply): void; reject(error: Error): void } | undefined
  #lastUsed = performance.now()
  /** The server has said that it takes no more calls here. */
  #last = false

  private constructor(private readonly socket: Socket) {
    // Latin-1 keeps one character a byte, so that content-length counts characters.
    socket.setEncoding('latin1')
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#read(String(chunk)))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Failure('The api has closed a connection in the middle of the load.')))
  }

  static open(host: string, port: number): Promise<Line> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new Line(socket))
      })
    })
  }

  /** Closed, or rested for so long that the server may close it while the next call is on its way: it does so after a minute. */
  get stale(): boolean {
    return this.socket.destroyed || performance.now() - this.#lastUsed > MAX_REST_MS
  }

  /** Makes a call. @param json ASCII only @throws when the connection breaks */
  call(head: string, json: string | undefined): Promise<Reply> {
    const rest =
      json === undefined
        ? '\r\n'
        : `content-type: application/json\r\ncontent-length: ${json.length}${END_OF_HEAD}${json}`
    return new Promise((resolve, reject) => {
      // Written to a closed socket, a call would wait for ever.
      if (this.socket.destroyed) return reject(new Failure('The api has closed a connection that rested.'))
      this.#waiting = { resolve, reject }
      this.socket.write(head + rest, 'latin1')
    })
  }

  close(): void {
    this.socket.destroy()
  }

  #read(chunk: string): void {
    this.#received += chunk
    if (this.#expected === 0 && !this.#readHead()) return
    if (this.#received.length < this.#expected) return
    const reply = {
      status: Number(this.#received.slice(9, 12)),
      body: this.#received.slice(this.#bodyFrom, this.#expected),
    }
    this.#received = ''
    this.#expected = 0
    const waiting = this.#waiting
    this.#waiting = undefined
    this.#lastUsed = performance.now()
    if (this.#last) this.close()
    waiting?.resolve(reply)
  }

  /** @returns false as long as the head is not whole */
  #readHead(): boolean {
    const end = this.#received.indexOf(END_OF_HEAD)
    if (end < 0) return false
    const head = this.#received.slice(0, end)
    this.#last = /\r\nconnection: *close/i.test(head)
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
    if (length === undefined) {
      this.#fail(new Failure(`The api answers without content-length: ${this.#received.slice(0, 200)}`))
      return false
    }
    this.#bodyFrom = end + END_OF_HEAD.length
    this.#expected = this.#bodyFrom + Number(length)
    return true
  }

  #fail(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.reject(error)
  }
}
