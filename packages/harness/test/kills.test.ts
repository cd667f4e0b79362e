import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Sent, TestClient, type TestUser, until, type World, world } from '../src/index.js'

/** A device as a good client has it: it comes back, acknowledges, and shows each seq once. */
class Device {
  readonly shown: number[] = []
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
    client.ws.on('message', (data) => {
      const frame = JSON.parse(data.toString()) as { op: string; message?: { seq: number; conversation: string } }
      if (frame.op !== 'message') return
      const { seq, conversation } = frame.message!
      if (seq <= (this.shown.at(-1) ?? 0)) this.repeats++
      else this.shown.push(seq)
      if (client.ws.readyState === client.ws.OPEN) client.ack(conversation, seq)
    })
    await new Promise((resolve) => client.ws.once('close', resolve))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.current?.ws.terminate()
    await this.#done
  }
}

/** Sends as a good client does: the same clientId again until it is answered. */
async function sendUntilAccepted(w: World, from: TestUser, to: TestUser, i: number): Promise<Sent> {
  const body = { to: { user: to.name }, content: { i }, clientId: `m-${i}` }
  for (let attempt = 0; ; attempt++) {
    try {
      const reply = await w.http<Sent>('POST', 'messages', {
        token: from.token,
        body,
        api: (i + attempt) % w.apis.length,
      })
      if (reply.status === 202) return reply.body
      if (reply.status < 500) throw new RangeError(`${reply.status} ${reply.text}`)
    } catch (error) {
      if (error instanceof RangeError || attempt > 200) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Sends while `harm` is done, and then: every device has every entry, once and in order, and MySQL too. */
async function unharmed(t: Test, w: World, harm: () => Promise<void>, messages = 200): Promise<void> {
  const alice = await w.user()
  const bob = await w.user()
  const devices = [new Device(w, bob, 'phone', 0), new Device(w, bob, 'laptop', 1), new Device(w, alice, 'web', 0)]
  t.teardown(() => Promise.all(devices.map((device) => device.stop())))
  await until('the devices are there', () =>
    devices.every((device) => device.current?.frames.some((f) => f.op === 'synced')),
  )
  let sent = 0
  const accepted: Sent[] = []
  const sending = (async () => {
    while (sent < messages) {
      accepted.push(await sendUntilAccepted(w, alice, bob, sent++))
    }
  })()
  await until('under way', () => accepted.length > messages / 10)
  await harm()
  await sending
  const seqs = accepted.map(({ seq }) => seq)
  t.same(
    seqs,
    Array.from({ length: messages }, (_, i) => i + 1),
    'each accepted once, in order',
  )
  await until('every device has all', () => devices.every((device) => device.shown.length === messages), 40_000)
  for (const device of devices) t.same(device.shown, seqs)
  const { conversation } = accepted[0]!
  await until('MySQL has all', async () => {
    const [row] = await w.store.use((db) =>
      db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries WHERE conversation = ?', [conversation]),
    )
    return Number(row!.n) === messages
  })
  await Promise.all(devices.map((device) => device.stop()))
}

t.test(
  'promise 1: whatever single process dies under load, nothing accepted is lost, doubled or misordered',
  async (t) => {
    const w = await world(t, {
      processes: true,
      count: { api: 2, logic: 2, task: 2, connect: 2 },
      env: { TIDINGS_NODE_LEASE_S: '3', TIDINGS_WORKER_LEASE_S: '2' },
    })
    for (const victim of ['task-1', 'connect-1', 'logic-1', 'api-1', 'task-2', 'connect-2']) {
      await t.test(`kill -9 of ${victim}, and its return`, async (t) => {
        await unharmed(t, w, async () => {
          await w.processes.get(victim)!.restart()
        })
      })
    }
    await t.test('a worker that is paused for longer than its lease, and wakes up', async (t) => {
      await unharmed(t, w, async () => {
        const { child } = w.processes.get('task-1')!
        child.kill('SIGSTOP')
        const partitions = async () => (await fetch(`http://127.0.0.1:${w.ops.get('task-2')}/metrics`)).text()
        await until('the other has taken over', async () => {
          const text = await partitions()
          return ['push', 'persist'].every(
            (g) => (text.match(new RegExp(`group="${g}",partition="\\d+",state="lag"`, 'g')) ?? []).length === 4,
          )
        })
        child.kill('SIGCONT')
      })
    })
    await t.test('a rolling restart by SIGTERM: each process ends by itself, with status 0', async (t) => {
      await unharmed(t, w, async () => {
        for (const victim of ['connect-1', 'task-1', 'api-1', 'logic-1']) {
          const process = w.processes.get(victim)!
          const began = performance.now()
          t.equal(await process.stop(), 0, victim)
          t.ok(performance.now() - began < 5_000, `${victim} stops in time`)
          await process.restart()
        }
      })
    })
  },
)

t.test('a connect node that drains tells its clients when to come back', async (t) => {
  const w = await world(t, { processes: true })
  const alice = await w.user(`a${randomBytes(4).toString('hex')}`)
  const socket = await alice.connect()
  const stopping = w.processes.get('connect-1')!.stop()
  const { after } = await socket.next('reconnect')
  t.ok(Number(after) >= 0 && Number(after) <= 5_000)
  t.equal(await socket.closed(), 1012)
  t.equal(await stopping, 0)
})
