/** Receipts against a real mark and generation in Redis; logic answers what a test says. */

import { randomBytes } from 'node:crypto'
import { type logicRpc, logicRpc as rpc } from '@tidings/protocol'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectRedis, createKeys } from '@tidings/stream'
import t, { type Test } from 'tap'
import { Session } from '../src/session.js'
import { createStoredReceipts } from '../src/stored.js'
import type { Socket } from '../src/transport.js'
import { until } from './until.js'

const log = createLogger({ app: 'connect', instance: 'test', level: 'silent' })
const CONVERSATION = 'dm:alice:bob'

async function world(t: Test, limit?: number) {
  const redis = await connectRedis(given('TIDINGS_REDIS_URL'), log)
  const keys = createKeys(`t${randomBytes(6).toString('hex')}`, 1)
  /** By seq; what is not named is stored. */
  const fates = new Map<number, logicRpc.Fate>()
  let asked = 0
  const receipts = createStoredReceipts({
    redis,
    keys,
    log,
    ...(limit !== undefined && { limit }),
    logic: {
      leap: async () => ({ unused: [] }),
      fateOf: async ({ entries = [] }) => {
        asked++
        return { fates: entries.map(({ seq }) => fates.get(seq as number) ?? rpc.Fate.STORED) }
      },
    },
  })
  t.teardown(async () => {
    await receipts.stop()
    await redis.del(keys.mark(0, 'persist'), keys.generation(0))
    redis.disconnect()
  })
  const begin = (generation: number) => redis.set(keys.generation(0), `${generation} server`)
  await begin(1)
  const frames: { op: string; upTo?: number; from?: number }[] = []
  const take = (frame: string | Uint8Array): 'sent' => {
    frames.push(JSON.parse(String(frame)))
    return 'sent'
  }
  const socket: Socket = {
    send: take,
    sendAll: (all) => all.map(take)[0]!,
    ping: () => undefined,
    buffered: () => 0,
    close: () => undefined,
    closed: false,
  }
  const identity = { user: 'alice', sessionId: undefined, expiresAt: 0, scopes: undefined }
  const session = new Session('alice', 'd', identity, socket, () => undefined)
  return {
    receipts,
    fates,
    frames,
    begin,
    sent: (seq: number, generation = 1) =>
      receipts.expect(session, {
        conversation: CONVERSATION,
        seq,
        id: String(seq),
        streamId: `1000-${seq}`,
        partition: 0,
        generation,
      }),
    /** Persist has settled everything up to a seq. */
    storedUpTo: (seq: number) => redis.set(keys.mark(0, 'persist'), `1000-${seq + 1}`),
    /** How often MySQL was asked. */
    asked: () => asked,
    upTo: () => frames.map((frame) => frame.upTo),
  }
}

t.test('a receipt covers what the mark has passed, and no more', async (t) => {
  const w = await world(t)
  for (const seq of [1, 2, 3]) w.sent(seq)
  await w.storedUpTo(2)
  await until('something was told', () => w.frames.length > 0)
  t.same(w.upTo(), [2])
  t.equal(w.receipts.waiting, 1)
  await w.storedUpTo(3)
  await until('nothing waits', () => w.receipts.waiting === 0)
  t.same(w.upTo(), [2, 3])
})

t.test('beyond the bound a send has no receipt of its own; a later one of the same generation covers it', async (t) => {
  const w = await world(t, 2)
  for (const seq of [1, 2, 3]) w.sent(seq)
  t.equal(w.receipts.waiting, 2)
  await w.storedUpTo(3)
  await until('nothing waits', () => w.receipts.waiting === 0)
  t.same(w.upTo(), [2])
  w.sent(4)
  await w.storedUpTo(4)
  await until('nothing waits', () => w.receipts.waiting === 0)
  t.same(w.upTo(), [2, 4])
})

t.test('a send beyond the bound that a change of generations may have lost is never covered', async (t) => {
  const w = await world(t, 2)
  for (const seq of [1, 2, 3]) w.sent(seq)
  await w.storedUpTo(1)
  await until('one waits', () => w.receipts.waiting === 1)
  w.sent(4)
  t.equal(w.receipts.waiting, 2)
  w.fates.set(2, rpc.Fate.VOID)
  await w.begin(2)
  await until('nothing waits', () => w.receipts.waiting === 0)
  await w.storedUpTo(9)
  w.sent(5, 2)
  t.equal(w.receipts.waiting, 0, 'nothing later in that conversation is waited for')
  t.same(w.frames, [
    { op: 'stored', conversation: CONVERSATION, upTo: 1 },
    { op: 'void', conversation: CONVERSATION, from: 2, to: 2 },
  ])
})

t.test('a receipt does not cover what is doubtful and was not asked about in the same breath', async (t) => {
  const w = await world(t)
  // What is lost below is known as void only when persist has passed the leap; the others fill what is asked at once.
  w.fates.set(1, rpc.Fate.UNSPECIFIED)
  for (let seq = 1; seq <= 1_001; seq++) w.sent(seq)
  await w.begin(2)
  await until('it was asked three times', () => w.asked() >= 3)
  t.same(w.upTo(), [], 'nothing above the one that nobody can tell about yet')
  w.fates.set(1, rpc.Fate.VOID)
  await until('nothing waits', () => w.receipts.waiting === 0)
  t.same(w.frames[0], { op: 'void', conversation: CONVERSATION, from: 1, to: 1 })
  t.equal(w.upTo().at(-1), 1_001)
})
