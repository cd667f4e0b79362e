/** To which nodes a message was pushed, as its sender and as an operator see it. */
import t from 'tap'
import { operatorOf, type Sent, type TestUser, until, type World, world } from '../src/index.js'

const { env, call: operator } = operatorOf()

interface Trace {
  routed: { nodes: { node: string; at: number; sessions: number }[]; forgotten: string[]; unanswered: string[] }
  groups: { push: boolean }
  nodesKnown: boolean
}

function asking(it: World) {
  const admin = operator(it)
  const toOperator = async (id: string) => (await admin<Trace>('GET', `admin/messages/${id}`)).body
  const pushed = (id: string) => until('push is through', async () => (await toOperator(id)).groups.push)
  return {
    admin,
    toOperator,
    to: async (user: TestUser, id: string) => {
      const { status, body } = await it.http<{ state: Record<string, unknown>; code: string }>(
        'GET',
        `messages/${id}`,
        user,
      )
      return status === 200 ? body.state.routed : `${status} ${body.code}`
    },
    pushed,
    /** Sends until one was pushed to this many sessions: a worker that has not heard of a session leaves it to the log. */
    async reaching(sessions: number, send: () => Promise<Sent>): Promise<Sent> {
      let sent = await send()
      await until(`a message is pushed to ${sessions} sessions`, async () => {
        await pushed(sent.id)
        const { nodes } = (await toOperator(sent.id)).routed
        if (nodes.reduce((sum, one) => sum + one.sessions, 0) === sessions) return true
        sent = await send()
        return false
      })
      return sent
    },
  }
}

t.test('the sender is told to how many nodes and sessions, an operator to which; nobody else is', async (t) => {
  const it = await world(t, { env, count: { connect: 2 } })
  const { admin, toOperator, to, reaching } = asking(it)
  const [alice, bob, eve] = [await it.user(), await it.user(), await it.user()]
  await alice.connect({ device: 'laptop', node: 0 })
  const phone = await bob.connect({ device: 'phone', node: 1 })
  await bob.connect({ device: 'tablet', node: 1 })
  await eve.connect({ node: 0 })
  const { id, sentAt } = await reaching(3, () => alice.send(bob))
  await phone.nextMessage()

  const { routed } = await toOperator(id)
  t.match(routed.nodes, [
    { node: 'connect-1', sessions: 1 },
    { node: 'connect-2', sessions: 2 },
  ])
  t.same([routed.forgotten, routed.unanswered], [[], []])
  const at = Math.min(...routed.nodes.map((one) => one.at))
  t.ok(at >= sentAt && at < sentAt + 10_000)
  t.same(await to(alice, id), { nodes: 2, sessions: 3, at })
  t.equal(await to(bob, id), null, 'who got it is not told')
  t.equal(await to(eve, id), '404 message_not_found')
  for (const bad of ['x', '0', '1', '9'.repeat(30)]) t.equal(await to(alice, bad), '404 message_not_found', bad)
  t.match(await it.http('GET', `admin/messages/${id}`, { token: alice.token }), {
    status: 401,
    body: { code: 'signature_required' },
  })
  t.match(await admin('GET', 'admin/messages/x'), { status: 400, body: { code: 'invalid_request' } })

  // In a room: the sessions of its members, on all nodes.
  const members = [bob.name, eve.name]
  const room = await it.http<{ id: string }>('POST', 'rooms', { token: alice.token, body: { name: 'r', members } })
  const body = { to: { room: room.body.id }, content: { text: 'all of you' } }
  const said = await reaching(
    4,
    async () => (await it.http<Sent>('POST', 'messages', { token: alice.token, body })).body,
  )
  t.match(await to(alice, said.id), { nodes: 2, sessions: 4 })
})

t.test('what a device read from the log was pushed to nobody', async (t) => {
  const it = await world(t, { env, count: { connect: 2 } })
  const { toOperator, to, pushed } = asking(it)
  const [alice, bob] = [await it.user(), await it.user()]
  const { id } = await alice.send(bob)
  await pushed(id)
  const phone = await bob.connect({ device: 'phone' })
  t.same(
    phone.messages().map((message) => message.id),
    [id],
  )
  t.same((await toOperator(id)).routed, { nodes: [], forgotten: [], unanswered: [] }, 'and all nodes know that')
  t.equal(await to(alice, id), null)
})

t.test('what a node knew goes with it: until etcd lists it no more it is named', { timeout: 90_000 }, async (t) => {
  const lease = { TIDINGS_NODE_LEASE_S: '5' }
  const it = await world(t, { processes: true, env: { ...env, ...lease }, count: { connect: 2 } })
  const { toOperator, to, reaching } = asking(it)
  const [alice, bob] = [await it.user(), await it.user()]
  await alice.connect({ node: 0 })
  await bob.connect({ node: 1 })
  const { id } = await reaching(2, () => alice.send(bob))
  t.match(await to(alice, id), { nodes: 2, sessions: 2 })
  const first = { node: 'connect-1', at: Number, sessions: 1 }

  await it.processes.get('connect-2')!.kill('SIGKILL')
  t.match(await toOperator(id), {
    routed: { nodes: [first], forgotten: [], unanswered: ['connect-2'] },
    nodesKnown: true,
  })
  t.match(await to(alice, id), { nodes: 1, sessions: 1 })
  await until('it is listed no more', async () => (await toOperator(id)).routed.unanswered.length === 0)
  t.match(await toOperator(id), { routed: { nodes: [first], forgotten: [] } })
  await it.processes.get('connect-2')!.restart()
  await until('the new one is asked', async () => (await toOperator(id)).routed.forgotten.length === 1)
  t.match(await toOperator(id), { routed: { nodes: [first], forgotten: ['connect-2'], unanswered: [] } })

  await it.processes.get('connect-1')!.kill('SIGKILL')
  t.equal(await to(alice, id), null, 'nobody remembers it')
})
