/** Sends under which something is harmed, and devices as good clients have them: afterwards nothing may be missing anywhere. */
import { GENERATION_SEQS } from '@tidings/stream'
import type { Test } from 'tap'
import { type FrameOf, type Sent, TestClient, type TestUser, until, type World } from '../src/index.js'

interface Shown {
  seq: number
  clientId: string
}

/** `performance.now()` of the first showing, by clientId. */
type Times = Map<string, number>

/**
 * A device as a good client has it: it comes back, acknowledges, and shows each seq once, and each message once: what a Redis that lost
 * its tail made its sender repeat has another seq.
 */
export class Device {
  readonly shown: Shown[] = []
  readonly shownAt: Times = new Map()
  repeats = 0
  #stopped = false
  readonly #done: Promise<void>
  current: TestClient | undefined

  constructor(
    private readonly w: World,
    private readonly user: TestUser,
    private readonly name: string,
    private node: number,
  ) {
    this.#done = this.#live()
  }

  async #live(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#connectOnce()
      } catch (error) {
        if (!(error instanceof Error)) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      this.node = (this.node + 1) % this.w.connects.length
    }
  }

  async #connectOnce(): Promise<void> {
    const client = await TestClient.open(`${this.w.connects[this.node]!.url}?device=${this.name}`, {
      token: this.user.token,
    })
    this.current = client
    // The first frames may have come with the answer to the upgrade.
    for (const frame of client.frames) this.#take(client, frame)
    client.ws.on('message', (data) => this.#take(client, JSON.parse(data.toString()) as FrameOf))
    await new Promise((resolve) => client.ws.once('close', resolve))
  }

  #take(client: TestClient, frame: FrameOf): void {
    if (frame.op !== 'message') return
    const { seq, conversation, clientId } = (frame as unknown as { message: Shown & { conversation: string } }).message
    if (seq <= (this.shown.at(-1)?.seq ?? 0) || this.shownAt.has(clientId)) this.repeats++
    else {
      this.shown.push({ seq, clientId })
      this.shownAt.set(clientId, performance.now())
    }
    if (client.ws.readyState === client.ws.OPEN) client.ack(conversation, seq)
  }

  /** For whoever reads of a failure: what is missing, and what came beside messages. */
  state(all: readonly Shown[]): string {
    const has = new Set(this.shown.map(({ clientId }) => clientId))
    const missing = all.filter(({ clientId }) => !has.has(clientId)).map(({ seq }) => seq)
    const other = this.current?.raw.filter((frame) => !frame.startsWith('{"op":"message"')).slice(-5)
    const range = missing.length === 0 ? 'nothing missing' : `missing ${missing[0]} to ${missing.at(-1)}`
    return `${this.name}: ${range}, ${this.repeats} repeats, socket ${this.current?.ws.readyState}, told ${other?.join(' ')}`
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.current?.ws.terminate()
    await this.#done
  }
}

/** Sends as a good client does: the same clientId again until it is answered. @param told every answer that was no 202 */
export async function sendUntilAccepted(
  w: World,
  from: TestUser,
  to: TestUser,
  i: number,
  told: Set<number>,
): Promise<Sent> {
  const body = { to: { user: to.name }, content: { i }, clientId: `m-${i}` }
  for (let attempt = 0; ; attempt++) {
    try {
      const reply = await w.http<Sent>('POST', 'messages', {
        token: from.token,
        body,
        api: (i + attempt) % w.apis.length,
      })
      if (reply.status === 202) return reply.body
      told.add(reply.status)
      if (reply.status < 500) throw new RangeError(`${reply.status} ${reply.text}`)
    } catch (error) {
      if (error instanceof RangeError || attempt > 400) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export interface Ordeal {
  /** In the order of sending. */
  accepted: Sent[]
  /** Statuses that senders were told beside 202. */
  told: Set<number>
  /** The longest time between two accepted sends, in ms. */
  longestPauseMs: number
  /** The longest time from an accepted send to its showing on a device, in ms; its reconnecting included. */
  longestDeliveryMs: number
}

/**
 * Sends while `harm` is done, and then: each send was accepted once and in order, every device has shown each once and in order, and
 * MySQL has them all. Says nothing about which seqs they got.
 * @param messages sends at least; it goes on until the harm is done
 * @param tailLost a device may have been shown a message that was not accepted yet, at a seq that was lost
 */
export async function unharmed(
  t: Test,
  w: World,
  harm: (bob: TestUser, alice: TestUser) => Promise<void>,
  { messages = 200, tailLost = false }: { messages?: number; tailLost?: boolean } = {},
): Promise<Ordeal> {
  const alice = await w.user()
  const bob = await w.user()
  const devices = [
    new Device(w, bob, 'phone', 0),
    new Device(w, bob, 'laptop', w.connects.length - 1),
    new Device(w, alice, 'web', 0),
  ]
  t.teardown(() => Promise.all(devices.map((device) => device.stop())))
  await until('the devices are there', () =>
    devices.every((device) => device.current?.frames.some((f) => f.op === 'synced')),
  )
  const accepted: Sent[] = []
  const acceptedAt: Times = new Map()
  const told = new Set<number>()
  let harmed = false
  let longestPauseMs = 0
  const sending = (async () => {
    for (let i = 0; i < messages || !harmed; i++) {
      const began = performance.now()
      accepted.push(await sendUntilAccepted(w, alice, bob, i, told))
      acceptedAt.set(`m-${i}`, performance.now())
      longestPauseMs = Math.max(longestPauseMs, performance.now() - began)
    }
  })()
  await until('under way', () => accepted.length > messages / 10)
  await harm(bob, alice)
  harmed = true
  await sending
  const seqs = accepted.map(({ seq }) => seq)
  t.ok(
    seqs.every((seq, i) => i === 0 || seq > seqs[i - 1]!),
    'each accepted once, in order',
  )
  const all = accepted.map(({ seq }, i) => ({ seq, clientId: `m-${i}` }))
  await until('every device has all', () => devices.every((device) => device.shown.length >= all.length), 40_000).catch(
    (error: unknown) => {
      for (const device of devices) t.comment(device.state(all))
      throw error
    },
  )
  for (const { shown } of devices) {
    t.same(
      shown.map(({ clientId }) => clientId),
      all.map(({ clientId }) => clientId),
      'every device shows each once, in order',
    )
    const elsewhere = shown.filter(({ seq }, i) => seq !== all[i]?.seq)
    t.ok(
      tailLost ? elsewhere.every(({ seq }) => seq < GENERATION_SEQS) : elsewhere.length === 0,
      'where it was accepted',
    )
  }
  const { conversation } = accepted[0]!
  await until('MySQL has all', async () => {
    const [row] = await w.store.use((db) =>
      db.select<{ n: number }>(`SELECT COUNT(*) AS n FROM entries WHERE conversation = ? AND type = 'text'`, [
        conversation,
      ]),
    )
    return Number(row!.n) === all.length
  })
  await Promise.all(devices.map((device) => device.stop()))
  const delays = devices.flatMap(({ shownAt }) => [...shownAt].map(([id, at]) => at - (acceptedAt.get(id) ?? at)))
  const longestDeliveryMs = Math.max(0, ...delays)
  t.comment(
    `longest pause between accepted sends ${Math.round(longestPauseMs)} ms, longest from accepted to shown ${Math.round(longestDeliveryMs)} ms`,
  )
  return { accepted, told, longestPauseMs, longestDeliveryMs }
}
