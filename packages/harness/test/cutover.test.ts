/** Promise 1 for devices: a thousand of them connect, leave and come back on another node while messages come as fast as they can. */
import t from 'tap'
import WebSocket from 'ws'
import { mintToken, until, type World, world } from '../src/index.js'

const USERS = 100
const DEVICES = 10
const PER_USER = 40
const BATCH = 100

interface Frame {
  op: string
  message?: { conversation: string; seq: number }
}

/** Comes back again and again, remembers what it was shown, acknowledges what it has without a hole. */
class Roamer {
  /** Every seq in the order in which it first came. */
  readonly shown: number[] = []
  comings = 0
  repeats = 0
  readonly wrong: string[] = []
  /** Its start is fixed. */
  ready = false
  #ws: WebSocket | undefined
  #done = false
  #ended = false

  constructor(
    private readonly w: World,
    private readonly token: string,
    private readonly name: string,
    private readonly conversation: string,
    private readonly chance: () => number,
  ) {}

  async run(): Promise<void> {
    while (!this.#done) await this.#once()
  }

  async #once(): Promise<void> {
    const node = this.w.connects[Math.floor(this.chance() * this.w.connects.length)]!
    const ws = new WebSocket(`${node.url}?device=${this.name}`, { headers: { authorization: `Bearer ${this.token}` } })
    this.#ws = ws
    this.comings++
    // A refused or cut connection ends with `close`, too.
    ws.on('error', () => undefined)
    ws.on('message', (data: Buffer) => this.#take(ws, JSON.parse(data.toString()) as Frame))
    // Some leave in the middle of their backlog.
    const stay = this.#done ? undefined : setTimeout(() => ws.terminate(), 100 + this.chance() * 2_500)
    await new Promise((resolve) => ws.once('close', resolve))
    clearTimeout(stay)
    await new Promise((resolve) => setTimeout(resolve, this.chance() * 300))
  }

  #take(ws: WebSocket, { op, message }: Frame): void {
    if (op === 'ready') this.ready = true
    if (op === 'gap' || op === 'void') this.wrong.push(op)
    if (op !== 'message' || !message) return
    if (message.conversation !== this.conversation) this.wrong.push(message.conversation)
    const last = this.shown.at(-1) ?? 0
    if (message.seq <= last) this.repeats++
    else this.shown.push(message.seq)
    if (message.seq > last + 1) this.wrong.push(`${message.seq} after ${last}`)
    if (ws.readyState === ws.OPEN && this.chance() < 0.3) {
      ws.send(JSON.stringify({ op: 'ack', conversation: message.conversation, seq: message.seq }))
    }
  }

  /** Comes back for the last time, and stays. */
  async settle(): Promise<void> {
    this.#done = true
    this.#ws?.terminate()
    await this.#stay()
  }

  async #stay(): Promise<void> {
    const ws = new WebSocket(`${this.w.connects[0]!.url}?device=${this.name}`, {
      headers: { authorization: `Bearer ${this.token}` },
    })
    this.#ws = ws
    ws.on('error', () => undefined)
    ws.on('message', (data: Buffer) => this.#take(ws, JSON.parse(data.toString()) as Frame))
    ws.once('close', () => {
      if (!this.#ended) setTimeout(() => void this.#stay(), 200 + this.chance() * 500)
    })
  }

  end(): void {
    this.#ended = true
    this.#done = true
    this.#ws?.terminate()
  }
}

/** mulberry32. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

t.test('no hole under any interleaving of publishing, connecting, leaving and coming back', async (t) => {
  const seed = Number(process.env.TIDINGS_TEST_SEED ?? Date.now() % 1_000_000)
  t.comment(`TIDINGS_TEST_SEED=${seed}`)
  const chance = seeded(seed)
  const w = await world(t, {
    processes: true,
    count: { connect: 2 },
    env: { TIDINGS_SERVICE_TOKENS: 'server:send:a-token-of-a-server', TIDINGS_MAX_BACKLOG: '1000000' },
  })
  const users = Array.from({ length: USERS }, (_, i) => `user${String(i).padStart(3, '0')}`)
  const roamers = users.flatMap((user) => {
    const token = mintToken(w.env.TIDINGS_JWT_SECRET!, user)
    return Array.from({ length: DEVICES }, (_, d) => new Roamer(w, token, `d${d}`, `dm:publisher:${user}`, chance))
  })
  // Users appear when they first come.
  for (const user of ['publisher', ...users]) {
    const seen = await w.http('GET', 'me', { token: w.token(user) })
    t.equal(seen.status, 200) || t.bailout('no users')
  }
  const running = roamers.map((roamer) => roamer.run())
  t.teardown(() => {
    for (const roamer of roamers) roamer.end()
  })
  await until('all are known, from the beginning', () => roamers.every(({ ready }) => ready), 40_000)

  let accepted = 0
  const bodies = Array.from({ length: PER_USER }, (_, i) =>
    users.map((user) => ({ from: 'publisher', to: { user }, content: { i }, clientId: `m-${i}` })),
  )
  for (const messages of bodies) {
    for (let at = 0; at < messages.length; at += BATCH) {
      const slice = messages.slice(at, at + BATCH)
      for (;;) {
        const reply = await w.http<{ results?: { seq?: number }[] }>('POST', 'messages/batch', {
          token: 'a-token-of-a-server',
          body: { messages: slice },
        })
        const results = reply.body.results ?? []
        if (reply.status === 202 && results.every(({ seq }) => seq !== undefined)) break
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      accepted += slice.length
    }
  }
  t.equal(accepted, USERS * PER_USER)
  await until('every device came back at least once', () => roamers.every(({ comings }) => comings > 1), 40_000)
  await Promise.all(roamers.map((roamer) => roamer.settle()))
  await Promise.all(running)
  const all = Array.from({ length: PER_USER }, (_, i) => i + 1)
  await until('every device has everything', () => roamers.every(({ shown }) => shown.length === PER_USER), 60_000)
  t.same(
    roamers.filter(({ shown }) => shown.join() !== all.join()).map(({ shown }) => shown),
    [],
    'in order, without a hole',
  )
  t.same([...new Set(roamers.flatMap(({ wrong }) => wrong))], [], 'no gap, no void, nothing of anybody else')
  const comings = roamers.reduce((sum, roamer) => sum + roamer.comings, 0)
  t.ok(comings > 2 * roamers.length, `${comings} comings, ${roamers.reduce((sum, r) => sum + r.repeats, 0)} repeats`)
})
