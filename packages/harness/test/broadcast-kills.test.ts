/** A connect node dies while something is pushed to everyone. */
import t, { type Test } from 'tap'
import { type TestUser, until, world } from '../src/index.js'
import { EVERYONE, push, TWO } from './pushing.js'

/** Connected, and again when the node is gone: as clients are. */
async function faithful(t: Test, user: TestUser): Promise<{ seqs: number[] }> {
  const seqs: number[] = []
  let stopped = false
  t.teardown(() => {
    stopped = true
  })
  async function stay(node: number): Promise<void> {
    while (!stopped) {
      try {
        const client = await user.connect({ node, device: 'phone' })
        let seen = 0
        const look = (): void => {
          for (const { seq } of client.messages(EVERYONE).slice(seen)) {
            seen++
            if (seq > (seqs.at(-1) ?? 0)) seqs.push(seq)
          }
          if (seqs.length > 0) client.ack(EVERYONE, seqs.at(-1)!)
        }
        look()
        client.ws.on('message', look)
        await client.closed()
      } catch {
        // The other node, then.
      }
      node = 1 - node
    }
  }
  void stay(0)
  return { seqs }
}

t.test('a node that dies during broadcasts costs nobody one of them (promise 1)', async (t) => {
  const w = await world(t, {
    processes: true,
    count: { connect: 2 },
    env: TWO.env!,
  })
  const users = await Promise.all(Array.from({ length: 8 }, () => w.user()))
  const readers = await Promise.all(users.map((user) => faithful(t, user)))
  await push(w, { all: true }, 'before')
  await until('all are there', () => readers.every(({ seqs }) => seqs.length === 1))
  const pushing = (async () => {
    for (let i = 0; i < 30; i++) await push(w, { all: true }, `n${i}`, { key: `n${i}` })
  })()
  await until('some of them were shown', () => readers.some(({ seqs }) => seqs.length > 3))
  await w.processes.get('connect-1')!.kill('SIGKILL')
  await pushing
  await until('each has all', () => readers.every(({ seqs }) => seqs.length >= 31), 20_000)
  const wanted = Array.from({ length: 31 }, (_, i) => i + 1)
  for (const { seqs } of readers) t.same(seqs, wanted, 'in order, each once')
})
