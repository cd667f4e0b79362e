/** A connect node that etcd cannot be reached from, while its clients and everybody else can reach it. */
import { startLink } from '@tidings/infra'
import { connectEtcd, createRegistryKeys, readAll } from '@tidings/registry'
import t from 'tap'
import { type TestClient, until, type World, world } from '../src/index.js'

const CUT = 'connect-2'

/** What etcd itself holds of the node: its listing, and its sessions. */
async function listed(w: World): Promise<{ node: boolean; sessions: number }> {
  const etcd = connectEtcd([w.env.TIDINGS_ETCD_URL!])
  try {
    const keys = createRegistryKeys(w.namespace)
    const sessions = [...(await readAll(etcd, keys.sessions())).all.values()]
    return {
      node: (await readAll(etcd, keys.nodes('connect'))).all.has(keys.node('connect', CUT)),
      sessions: sessions.filter(({ value }) => (JSON.parse(value) as { node: string }).node === CUT).length,
    }
  } finally {
    etcd.close()
  }
}

/** Entries that workers have pushed to the node. */
async function pushed(w: World): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${w.ops.get(CUT)}/metrics`)).text()
  return Number(/^tidings_stage_total\{stage="deliver",outcome="ok",.*\} (\d+)$/m.exec(text)?.[1] ?? 0)
}

t.test('a node that is cut from etcd for longer than its lease keeps its clients, and they miss nothing', async (t) => {
  const w = await world(t, { env: { TIDINGS_NODE_LEASE_S: '2' } })
  const link = await startLink(Number(new URL(w.env.TIDINGS_ETCD_URL!).port))
  t.teardown(() => link.stop())
  await w.start('connect', { TIDINGS_ETCD_URL: `http://127.0.0.1:${link.port}` })
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const there = {
    phone: await bob.connect({ device: 'phone', node: 1 }),
    tablet: await bob.connect({ device: 'tablet', node: 1 }),
    carol: await carol.connect({ node: 1 }),
  }
  const elsewhere = await bob.connect({ device: 'laptop', node: 0 })
  const devices: readonly TestClient[] = [there.phone, there.tablet, elsewhere]
  let fromAlice = ''
  let fromCarol = ''
  let rounds = 0

  /** Alice sends over HTTP, Carol on her socket: every device of Bob's shows all of both so far, in order. */
  async function round(): Promise<void> {
    for (let i = 0; i < 5; i++) {
      fromAlice = (await alice.send(bob)).conversation
      there.carol.send({ op: 'send', to: { user: bob.name }, content: {}, clientId: `c-${rounds}-${i}` })
      fromCarol = String((await there.carol.next('sent')).conversation)
    }
    const all = Array.from({ length: ++rounds * 5 }, (_, i) => i + 1)
    for (const device of devices) {
      for (const conversation of [fromAlice, fromCarol]) {
        await device.until('all is shown', () => device.seqs(conversation).length >= all.length)
        t.same(device.seqs(conversation), all)
      }
    }
  }

  await until('its sessions are listed', async () => (await listed(w)).sessions === 3)
  await round()
  await until('workers push to it', async () => (await pushed(w)) > 0)

  link.stall()
  await until('its lease has ended', async () => {
    const { node, sessions } = await listed(w)
    return !node && sessions === 0
  })
  const before = await pushed(w)
  await round()
  await round()
  t.equal(await pushed(w), before, 'nobody pushed: what came was found by looking')

  link.resume()
  await until('all its sessions are listed again', async () => {
    const { node, sessions } = await listed(w)
    return node && sessions === 3
  })
  await until('workers push to it again', async () => {
    await round()
    return (await pushed(w)) > before
  })
  for (const client of [...devices, there.carol]) t.equal(client.closeCode, undefined, 'the same sockets all the while')
})

t.test('one session of a device stays, although the nodes of two did not see each other begin', async (t) => {
  const w = await world(t, { env: { TIDINGS_NODE_LEASE_S: '2' } })
  const link = await startLink(Number(new URL(w.env.TIDINGS_ETCD_URL!).port))
  t.teardown(() => link.stop())
  await w.start('connect', { TIDINGS_ETCD_URL: `http://127.0.0.1:${link.port}` })
  const [alice, bob] = [await w.user(), await w.user()]
  const oldThere = await bob.connect({ device: 'phone', node: 1 })
  const oldHere = await bob.connect({ device: 'tablet', node: 0 })
  const other = await bob.connect({ device: 'laptop', node: 1 })
  await until('its sessions are listed', async () => (await listed(w)).sessions === 2)
  link.stall()
  await until('its lease has ended', async () => (await listed(w)).sessions === 0)
  const newHere = await bob.connect({ device: 'phone', node: 0 })
  const newThere = await bob.connect({ device: 'tablet', node: 1 })
  t.same([oldThere.closeCode, oldHere.closeCode], [undefined, undefined])
  link.resume()
  t.same(await Promise.all([oldThere.closed(), oldHere.closed()]), [4409, 4409])
  await until('two are listed there', async () => (await listed(w)).sessions === 2)
  await alice.send(bob)
  for (const client of [newHere, newThere, other]) await client.until('shown', () => client.seqs().length === 1)
  t.same(
    [newHere, newThere, other].map(({ closeCode }) => closeCode),
    [undefined, undefined, undefined],
  )
})
