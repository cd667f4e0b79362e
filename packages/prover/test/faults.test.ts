/** The faults themselves, without a cluster: which share one, and what they take for a proof. */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { checkout } from '@tidings/infra'
import t from 'tap'
import { startProxy } from '../src/cluster/proxy.js'
import { NOT_HERE } from '../src/faults/all.js'
import { byCluster, chooseFaults, type FaultContext } from '../src/index.js'
import { until } from '../src/until.js'

/** Does a fault, without any time, on a cluster that is not there. @returns its proofs */
async function proofsOf(row: string, over: object): Promise<string[]> {
  const proofs: string[] = []
  const context = { hold: async () => undefined, bit: (proof: string) => proofs.push(proof), ...over }
  await chooseFaults(row)
    .find((fault) => fault.row === row)!
    .run(context as unknown as FaultContext)
  return proofs
}

t.test('what may be forgotten by one fault excuses nothing under another', async (t) => {
  const all = chooseFaults('all')
  const clusters = byCluster(all)
  t.same(clusters.flatMap(({ faults }) => faults).length, all.length)
  for (const { name, redis, faults } of clusters)
    for (const one of faults) {
      t.equal(one.redis ?? 'one', redis)
      t.equal(one.tailLost ?? false, name.endsWith('-lost-tail'), `row ${one.row}`)
      if (!one.tailLost) t.equal(one.voids ?? false, name.endsWith('-voids'), `row ${one.row}`)
    }
  const strict = clusters.find(({ name }) => name === 'one')!
  t.ok(
    strict.faults.some(({ row }) => row === '32'),
    'a row that is poison is judged with the others',
  )
  t.match(byCluster([]), [{ name: 'one', faults: [] }])
})

t.test('what was so before is no proof', async (t) => {
  const link = (cuts: number) => {
    const counters = { cut: 5, slowed: 70 }
    return { counters, harm: () => undefined, cut: () => (counters.cut += cuts) }
  }
  const on = (cuts: number) => ({ cluster: { links: () => [link(cuts)] } })
  t.same(await proofsOf('14b', on(0)), [], 'nothing was there to be cut')
  t.same(await proofsOf('14b', on(1)), ['10 connections cut'])
  t.same(await proofsOf('14c', on(0)), [], 'nothing came that had to wait')
  const flapping = (code: number) => {
    const closes = [4409]
    const device = { closes, options: { user: 'ann', name: 'web' }, drop: () => closes.push(code) }
    return { crowd: { devices: [device] }, cluster: { nodes: ['ws://127.0.0.1:1'], token: () => '' } }
  }
  t.same(await proofsOf('40', flapping(1006)), [], 'no twin has replaced it since')
  t.same(await proofsOf('40', flapping(4409)), ['10 closes, 10 of them 4409'])
})

t.test('a link tells what its rate has made wait', async (t) => {
  const server = createServer((socket) => socket.resume())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await startProxy((server.address() as AddressInfo).port)
  const socket = connect(proxy.port, '127.0.0.1').on('error', () => undefined)
  t.teardown(async () => {
    socket.destroy()
    await proxy.close()
    server.close()
  })
  const pass = async (text: string): Promise<void> => {
    const { passed } = proxy.counters
    socket.write(text)
    await until('it has passed', () => proxy.counters.passed - passed >= text.length, 30_000)
  }
  await pass('a'.repeat(1_000))
  t.equal(proxy.counters.slowed, 0)
  proxy.harm({ rate: 10_000 })
  await pass('b'.repeat(1_000))
  await pass('c'.repeat(1_000))
  t.equal(proxy.counters.slowed, 1_000, 'the second')
})

t.test('what is not here is tested where it says, and is told in docs/proving.md', async (t) => {
  const page = readFileSync(join(checkout, 'docs/proving.md'), 'utf8')
  for (const [row, why] of Object.entries(NOT_HERE)) {
    const [file] = /packages\/\S+/.exec(why) ?? []
    t.ok(file === undefined ? why.endsWith('no test does that') : existsSync(join(checkout, file)), `row ${row}`)
    t.ok(file === undefined || page.includes(`\`${file}\``), `row ${row} in the page`)
  }
})
