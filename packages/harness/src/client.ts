/** A bare WebSocket client that remembers every frame. */
import WebSocket from 'ws'

export type FrameOf = Record<string, unknown> & { op: string }

export interface MessageFrame extends FrameOf {
  message: {
    id: string
    conversation: string
    seq: number
    from: string
    type: string
    content: unknown
    clientId?: string
  }
}

const WAIT_MS = 30_000

export class TestClient {
  /** Frames in the order of their arrival. */
  readonly frames: FrameOf[] = []
  /** The same as text. */
  readonly raw: string[] = []
  closeCode: number | undefined
  closeReason = ''
  #read = 0
  #watchers = new Set<() => void>()

  private constructor(readonly ws: WebSocket) {
    ws.on('message', (data) => {
      const text = data.toString()
      this.raw.push(text)
      this.frames.push(JSON.parse(text) as FrameOf)
      this.#changed()
    })
    ws.on('close', (code, reason) => {
      this.closeCode = code
      this.closeReason = reason.toString()
      this.#changed()
    })
    ws.on('error', () => this.#changed())
  }

  /** Connects; resolves when the socket is open, which is before `ready`. */
  static async open(
    url: string,
    options: { token?: string; headers?: Record<string, string>; protocols?: string[] } = {},
  ): Promise<TestClient> {
    const headers = {
      ...options.headers,
      ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }),
    }
    const client = new TestClient(new WebSocket(url, options.protocols ?? [], { headers }))
    await new Promise<void>((resolve, reject) => {
      client.ws.once('open', resolve)
      client.ws.once('error', reject)
      client.ws.once('unexpected-response', (_request, response) => {
        let body = ''
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString()
        })
        response.on('end', () => reject(new Refused(response.statusCode ?? 0, body)))
      })
    })
    return client
  }

  /** The next frame of this op that was not read yet; frames before it are passed over. */
  async next(op: string): Promise<FrameOf> {
    await this.until(`a frame ${op}`, () => this.frames.slice(this.#read).some((frame) => frame.op === op))
    const at = this.frames.findIndex((frame, i) => i >= this.#read && frame.op === op)
    this.#read = at + 1
    return this.frames[at]!
  }

  async nextMessage(): Promise<MessageFrame['message']> {
    return ((await this.next('message')) as MessageFrame).message
  }

  /** Connected, told so, and through the backlog. */
  async synced(): Promise<this> {
    await this.next('synced')
    return this
  }

  /** All message entries so far, of one conversation or of all. */
  messages(conversation?: string): MessageFrame['message'][] {
    return this.frames
      .filter((frame): frame is MessageFrame => frame.op === 'message')
      .map((frame) => frame.message)
      .filter((message) => conversation === undefined || message.conversation === conversation)
  }

  seqs(conversation?: string): number[] {
    return this.messages(conversation).map((message) => message.seq)
  }

  send(frame: object | string): void {
    this.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  ack(conversation: string, seq: number): void {
    this.send({ op: 'ack', conversation, seq })
  }

  /** @returns the close code */
  async closed(): Promise<number> {
    await this.until('the close', () => this.closeCode !== undefined)
    return this.closeCode!
  }

  async close(): Promise<void> {
    this.ws.close()
    await this.closed()
  }

  /** Waits for a fact about this client. */
  async until(what: string, check: () => boolean): Promise<void> {
    if (check()) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(look)
        reject(
          new Error(
            `never came: ${what}; frames so far: ${this.raw.slice(-5).join(' ')}; close code ${this.closeCode}`,
          ),
        )
      }, WAIT_MS)
      const look = (): void => {
        if (!check()) return
        clearTimeout(timer)
        this.#watchers.delete(look)
        resolve()
      }
      this.#watchers.add(look)
    })
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look()
  }
}

/** The server answered the upgrade with HTTP. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly body: string,
  ) {
    super(`refused with ${status}: ${body}`)
  }
}
