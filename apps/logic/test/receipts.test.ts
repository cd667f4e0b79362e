/** Who is told how far somebody has got: what is published, and what is not. */
import { randomBytes } from 'node:crypto'
import type { ReceiptEvent } from '@tidings/protocol'
import t from 'tap'
import { ack } from '../src/cursors.js'
import { read } from '../src/reads.js'
import { createReceipts } from '../src/receipts.js'
import { log, openDevice, until, world } from './world.js'

const { deps, redis, keys, told, people, say, forgetRedis } = await world(t)
await people('alice', 'bob', 'carol')
const conversation = 'dm:alice:bob'
const acked = (device: string, seq: number, user = 'bob', of = conversation) =>
  ack(deps, { acks: [{ user, device, conversation: of, seq }] })
const taken = (): ReceiptEvent[] => told.splice(0)
const delivered = (seq: number, user = 'bob') => ({ op: 'receipt', conversation, user, delivered: seq })

t.test('delivered is told when it rises above what any device of the user has', async (t) => {
  for (const text of ['1', '2', '3', '4', '5']) await say('alice', 'bob', text)
  await openDevice(deps, 'bob', 'phone')
  await acked('phone', 2)
  t.same(taken(), [delivered(2)])
  await openDevice(deps, 'bob', 'laptop')
  t.same(taken(), [], 'where a new device begins is no news')
  await acked('laptop', 2)
  await acked('phone', 1)
  await acked('phone', 2)
  t.same(taken(), [], 'nothing moved')
  await acked('laptop', 4)
  t.same(taken(), [delivered(4)])
  await acked('phone', 4)
  await acked('phone', 3)
  t.same(taken(), [], 'the laptop had it before')
  await acked('phone', 5)
  t.same(taken(), [delivered(5)])
  await acked('laptop', 5)
  t.same(taken(), [])
  await acked('phone', 5, 'alice')
  t.same(taken(), [delivered(5, 'alice')], 'the others are not compared with')
})

t.test('a device that was not listed is told of as well, and what is refused is not', async (t) => {
  await say('carol', 'bob', 'hi')
  await acked('new', 1, 'carol', 'dm:bob:carol')
  t.match(taken(), [{ user: 'carol', delivered: 1 }])
  await t.rejects(acked('phone', 1, 'carol', conversation), { code: 'conversation_not_found' })
  const beyond = [{ user: 'carol', device: 'new', conversation: 'dm:bob:carol', seq: 9 }]
  await t.rejects(ack(deps, { acks: beyond, withinHead: true }), { code: 'beyond_head' })
  t.same(taken(), [])
})

t.test('read is told when it moved', async (t) => {
  await read(deps, { user: 'bob', conversation, seq: 3 })
  t.same(taken(), [{ op: 'receipt', conversation, user: 'bob', read: 3 }])
  await read(deps, { user: 'bob', conversation, seq: 3 })
  await read(deps, { user: 'bob', conversation, seq: 2 })
  await t.rejects(read(deps, { user: 'carol', conversation, seq: 3 }), { code: 'conversation_not_found' })
  t.same(taken(), [])
})

t.test('in rooms up to 100 members, and in none of which nobody knows who is in it', async (t) => {
  const receipts = createReceipts({ redis, keys, publish: (event) => void told.push(event), log })
  const room = (): string => `room:${randomBytes(12).toString('base64url')}`
  const [small, large, lost] = [room(), room(), room()]
  for (const [name, size] of [
    [small, 100],
    [large, 101],
  ] as const) {
    const members = Array.from({ length: size }, (_, i) => [`m${i}`, '1:0']).flat()
    await redis.hset(keys.members(name), '*', '1 1 all', ...members)
  }
  for (const name of [large, lost, small]) {
    receipts.delivered({ user: 'm1', conversation: name, seq: 7 })
    receipts.read({ user: 'm1', conversation: name, seq: 6 })
  }
  await until(() => told.length >= 2)
  t.match(taken(), [
    { conversation: small, delivered: 7 },
    { conversation: small, read: 6 },
  ])
  receipts.delivered({ user: 'bob', conversation: 'feed:bob', seq: 1 })
  receipts.read({ user: 'bob', conversation: 'feed:bob', seq: 1 })
  t.same(taken(), [{ op: 'receipt', conversation: 'feed:bob', user: 'bob', read: 1 }], 'a feed has one person')
  await forgetRedis()
})

t.end()
