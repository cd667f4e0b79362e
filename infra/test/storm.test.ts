import type { AddressInfo } from 'node:net'
import { type Test, test } from 'tap'
import { type WebSocket, WebSocketServer } from 'ws'
import { AwayDevice } from '../src/bench/away.js'
import { contentOf } from '../src/bench/checker.js'
import { seeded } from '../src/bench/random.js'
import { summarizeRates, sumOf } from '../src/bench/rates.js'
import { createTurns } from '../src/bench/turns.js'

/** Entries of device 3 have the numbers 6 and 7. */
const entry = (seq: number, index: number): string =>
  `{"op":"message","message":{"conversation":"dm:away-3:writer","seq":${seq},"content":${contentOf(index)}}}`

/** A server that shows these frames to whoever connects, and its device, which comes back once. */
async function comeBack(t: Test, ...sessions: string[][]): Promise<{ device: AwayDevice; faults: string[] }> {
  const { device, faults, allSeen } = await startAway(t, sessions)
  const patience = { over: false }
  await Promise.race([device.return('127.0.0.1', 0, { patience, turns: createTurns(1) }), allSeen])
  patience.over = true
  return { device, faults }
}

async function startAway(t: Test, sessions: string[][]) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => server.close())
  let next = 0
  let seen = (): void => undefined
  const allSeen = new Promise<void>((resolve) => {
    seen = resolve
  })
  server.on('connection', (socket: WebSocket) => {
    // By the time it answers it has seen all frames.
    socket.on('pong', seen)
    const frames = sessions[next++] ?? []
    for (const frame of frames) socket.send(frame)
    // Without entries: one that is refused.
    if (frames.length === 0) {
      socket.send('{"op":"error","code":"overloaded"}')
      socket.close(1013)
    } else {
      socket.send('{"op":"synced"}')
      socket.ping()
    }
  })
  await new Promise((resolve) => server.once('listening', resolve))
  const faults: string[] = []
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const device = new AwayDevice(
    3,
    url,
    'secret',
    () => 0,
    (what) => void faults.push(what),
  )
  t.teardown(() => device.close())
  return { device, faults, allSeen }
}

test('a device that is told to come back later before it ever was in does so, a few times', async (t) => {
  const patient = await startAway(t, [[], [], [entry(1, 6)]])
  await patient.device.open('127.0.0.1')
  t.same(patient.faults, [])
  const refused = await startAway(t, [])
  await t.rejects(refused.device.open('127.0.0.1'), { message: /closed with 1013/ })
  t.same(refused.faults, [])
})

test('a device that is shown its entries in order has missed nothing, also when its first attempt was refused', async (t) => {
  const { device, faults } = await comeBack(t, [], [entry(1, 6), entry(2, 7)])
  t.equal(device.missing(), undefined)
  t.match(device.failures, [/closed with 1013/])
  t.equal(device.failures.length, 1)
  t.same(faults, [])
})

test('a device that is not shown an entry is found', async (t) => {
  const { device, faults } = await comeBack(t, [entry(1, 6)])
  t.equal(device.missing(), 'device 3 was shown 1 of 2 entries')
  t.same(faults, [])
})

for (const [what, frames] of [
  ['the later one first', [entry(2, 7), entry(1, 6)]],
  ['an entry of another device', [entry(1, 8), entry(2, 9)]],
  ['an entry twice', [entry(1, 6), entry(1, 6)]],
] as const) {
  test(`a device that is shown ${what} reports it`, async (t) => {
    const { faults } = await comeBack(t, [...frames])
    t.match(faults[0], /^device 3: /)
  })
}

test('a metric is added up over its labels, and no other one with it', async (t) => {
  const metrics = '# HELP n x\nn{a="1"} 2\nn{a="2"} 3e2\nn_total 50\nm 7\n'
  t.equal(sumOf(metrics, 'n'), 302)
  t.equal(sumOf(metrics, 'm'), 7)
  t.same(summarizeRates([{ redis: 10 }, { redis: 30 }]), { redis: { mean: 20, most: 30 } })
  t.same(summarizeRates([]), {})
})

test('chance is the same for the same seed, spread over its range', async (t) => {
  const draw = (seed: number): number[] => {
    const random = seeded(seed)
    return Array.from({ length: 1_000 }, random)
  }
  t.same(draw(7), draw(7))
  t.not(draw(7)[0], draw(8)[0])
  const drawn = draw(1)
  t.ok(drawn.every((n) => n >= 0 && n < 1))
  t.ok(Math.abs(drawn.reduce((sum, n) => sum + n, 0) / drawn.length - 0.5) < 0.05)
})

test('so many take their turn at once, the others in their order, and a failure gives its turn back', async (t) => {
  const turns = createTurns(2)
  const ends: (() => void)[] = []
  const begun: number[] = []
  const take = (n: number): Promise<number> =>
    turns.run(async () => {
      begun.push(n)
      await new Promise<void>((resolve) => ends.push(resolve))
      if (n === 0) throw new Error('broken')
      return n
    })
  const all = Promise.allSettled([0, 1, 2, 3].map(take))
  t.same(begun, [0, 1])
  for (let n = 0; n < 4; n++) {
    while (ends.length <= n) await new Promise(setImmediate)
    ends[n]!()
  }
  t.match(await all, [{ status: 'rejected' }, { value: 1 }, { value: 2 }, { value: 3 }])
  t.same(begun, [0, 1, 2, 3])
  t.equal(await turns.run(async () => 4), 4)
})
