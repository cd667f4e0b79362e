/** Asking connect nodes what was pushed to them: real calls, nodes of our own making. */
import { setTimeout as pause } from 'node:timers/promises'
import { nodeRpc, serve, startRpcServer } from '@tidings/protocol'
import { createConnectNodes } from '@tidings/registry'
import { type Test, test } from 'tap'
import { createRouted, sumOf } from '../src/routed.js'
import { log } from './world.js'

/** Of 2026-01-01T00:00:01Z. */
const ID = String(1_000n << 22n)
const SENT_AT = Date.UTC(2026, 0, 1, 0, 0, 1)
const PATIENCE_MS = 5_000

/** A listed connect node that remembers this, and which ids it was asked for. */
async function node(t: Test, { entries = [] as nodeRpc.RoutedEntry[], since = 0, hangs = false }) {
  const asked: string[][] = []
  const server = await startRpcServer({
    ...{ host: '127.0.0.1', port: 0, token: 'x' },
    services: [
      serve(nodeRpc.NodeDefinition, {
        async *push() {},
        closeSession: async () => ({ found: false }),
        async routed({ ids }, { signal }) {
          asked.push(ids)
          if (hangs) await pause(PATIENCE_MS, undefined, { signal })
          return { entries: entries.filter(({ id }) => ids.includes(id)), since }
        },
      }),
    ],
    onInternalError: (_path, error) => t.fail(String(error)),
  })
  t.teardown(() => server.stop())
  return { info: { address: server.address, version: '', bootId: server.address }, asked, stop: () => server.stop() }
}

async function setUp(t: Test, listed: Record<string, Awaited<ReturnType<typeof node>>>) {
  const nodes = createConnectNodes('x')
  t.teardown(() => nodes.stop())
  const list = () => nodes.set(new Map(Object.entries(listed).map(([name, { info }]) => [name, info])))
  list()
  return { ask: createRouted(nodes, log), listed, list }
}

test('who remembers it, who may have forgotten it, and who does not answer, in bounded time', async (t) => {
  const gone = await node(t, {})
  await gone.stop()
  const { ask, listed, list } = await setUp(t, {
    b: await node(t, { entries: [{ id: ID, at: 7, sessions: 2 }], since: SENT_AT + 9 }),
    a: await node(t, { entries: [{ id: ID, at: 9, sessions: 3 }] }),
    knows: await node(t, { since: SENT_AT - 1 }),
    forgot: await node(t, { since: SENT_AT }),
    hangs: await node(t, { hangs: true }),
    gone,
  })
  const began = performance.now()
  const routed = await ask(ID)
  t.ok(performance.now() - began < PATIENCE_MS / 2)
  t.same(routed, {
    nodes: [
      { node: 'a', at: 9, sessions: 3 },
      { node: 'b', at: 7, sessions: 2 },
    ],
    forgotten: ['forgot'],
    unanswered: ['gone', 'hangs'],
  })
  t.same(sumOf(routed), { nodes: 2, sessions: 5, at: 7 })
  t.match(await ask(ID), { unanswered: ['gone', 'hangs'] })
  t.same([listed.hangs!.asked.length, listed.a!.asked.length], [1, 2], 'one that hangs is left in peace for a while')
  for (const name of ['a', 'b', 'hangs', 'gone']) delete listed[name]
  list()
  const left = await ask(ID)
  t.same(left, { nodes: [], forgotten: ['forgot'], unanswered: [] })
  t.equal(sumOf(left), undefined)
})

test('what is asked at the same time goes together, and no node is asked for more than it takes', async (t) => {
  const ids = Array.from({ length: 40 }, (_, i) => String(BigInt(ID) + BigInt(i)))
  const { ask, listed } = await setUp(t, {
    a: await node(t, { entries: ids.map((id, i) => ({ id, at: 1, sessions: i })) }),
  })
  const answers = await Promise.all(ids.map(ask))
  t.same(
    answers.map(({ nodes }) => nodes[0]?.sessions),
    ids.map((_, i) => i),
  )
  t.same(listed.a!.asked.map(({ length }) => length).sort(), [16, 16, 8])
})
