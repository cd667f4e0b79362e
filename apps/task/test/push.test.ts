/** Push against a node that only writes down what it is sent. */

import { nodeRpc, rpcToken, serve, startRpcServer, unpackPushes } from '@tidings/protocol'
import { createLogger, createMetrics, noTracing } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectRedis, createKeys, type Delivery } from '@tidings/stream'
import t, { type Test } from 'tap'
import { startPusher } from '../src/push.js'

const log = createLogger({ app: 'task', instance: 'test', level: 'silent' })
const SECRET = 'a secret of some length for the tests'

/** A node's memory: a batch by the seqs in it, or the word `recheck`. */
async function node(t: Test) {
  const told: (number[] | 'recheck')[] = []
  const watchers = new Set<() => void>()
  const server = await startRpcServer({
    host: '127.0.0.1',
    port: 0,
    token: rpcToken(SECRET),
    services: [
      serve(nodeRpc.NodeDefinition, {
        async *push(requests: AsyncIterable<nodeRpc.PushRequest>) {
          for await (const { number, recheck, ...packed } of requests) {
            const entries = unpackPushes(packed)
            if (entries.length > 0) told.push(entries.map(({ seq }) => seq))
            if (recheck) told.push('recheck')
            for (const look of watchers) look()
            yield { number, fenced: [] }
          }
        },
        async closeSession() {
          return { found: false }
        },
        async routed() {
          return {}
        },
      }),
    ],
    onInternalError: (_path, error) => t.fail(String(error)),
  })
  t.after(() => server.stop())
  return {
    address: server.address,
    told,
    /** Resolves when it has been told as much. */
    heard: (count: number) =>
      new Promise<void>((resolve) => {
        const look = (): void => {
          if (told.length < count) return
          watchers.delete(look)
          resolve()
        }
        watchers.add(look)
        look()
      }),
  }
}

t.test('what is old is not pushed, what is fresh is, and the nodes are told to look', async (t) => {
  const { address, told, heard } = await node(t)
  const redis = await connectRedis(given('TIDINGS_REDIS_URL'), log)
  t.after(() => redis.disconnect())
  const metrics = createMetrics('task', 'test')
  const info = { address, version: '0', bootId: 'b' }
  const pusher = await startPusher({
    registry: { watchNodes: async (_app, onChange) => onChange(new Map([['connect-1', info]])) },
    where: { nodesOf: () => ['connect-1'] },
    redis,
    keys: createKeys('late', 4),
    jwtSecret: SECRET,
    log,
    metrics,
    tracing: noTracing,
  })
  t.after(() => pusher.stop())
  const [seconds = 0] = await redis.time()
  const delivery = (seq: number, ageS: number, partition = 0): Delivery => ({
    partition,
    fence: 1,
    streamId: `${(Number(seconds) - ageS) * 1_000}-0`,
    entry: {
      id: String(seq),
      conversation: 'dm:alice:bob',
      seq,
      n: seq,
      from: 'alice',
      type: 'text',
      content: '{}',
      clientId: '',
      sentAt: 0,
      trace: '',
    },
  })
  const push = (...batch: Delivery[]) => pusher.handle(batch)
  await heard(1)
  t.same(told, ['recheck'], 'the first word to a node')

  t.same(await push(delivery(1, 0), delivery(2, 0)), { poisoned: [], fenced: new Map() })
  t.same(told.slice(1), [[1, 2]])
  t.same(await push(delivery(3, 60), delivery(4, 20)), { poisoned: [], fenced: new Map() }, 'settled all the same')
  await heard(3)
  await push(delivery(5, 20), delivery(6, 0), delivery(11, 60, 1), delivery(12, 0, 1))
  t.same(told.slice(2), ['recheck', [6, 12]], 'each partition by itself, and one look for all that is late')
  const text = await metrics.metrics()
  t.match(text, /tidings_stage_total\{[^}]*stage="push",outcome="late"[^}]*\} 4\n/)
  t.match(text, /tidings_stage_total\{[^}]*stage="push",outcome="ok"[^}]*\} 4\n/)
})

t.test('without the clock of Redis nothing counts as late', async (t) => {
  const { address, told, heard } = await node(t)
  const redis = await connectRedis(given('TIDINGS_REDIS_URL'), log)
  redis.disconnect()
  const info = { address, version: '0', bootId: 'b' }
  const pusher = await startPusher({
    registry: { watchNodes: async (_app, onChange) => onChange(new Map([['connect-1', info]])) },
    where: { nodesOf: () => ['connect-1'] },
    redis,
    keys: createKeys('late', 4),
    jwtSecret: SECRET,
    log,
    metrics: createMetrics('task', 'test'),
    tracing: noTracing,
  })
  t.after(() => pusher.stop())
  await heard(1)
  const entry = { id: '1', conversation: 'dm:alice:bob', seq: 1, n: 1, from: 'alice', type: 'text', content: '{}' }
  await pusher.handle([
    { partition: 0, fence: 1, streamId: '1-0', entry: { ...entry, clientId: '', sentAt: 0, trace: '' } },
  ])
  t.same(told, ['recheck', [1]])
})

t.end()
