import t from 'tap'
import { raiseGroupFence, settle } from '../src/index.js'
import { bench } from './stores.js'

t.test('a fence is taken once: the same again and a lower one are refused, with the one that is known', async (t) => {
  const { redis, keys } = await bench(t)
  const raise = (fence: number) => raiseGroupFence(redis, keys, { group: 'push', partition: 1, fence })
  t.equal(await raise(7), undefined)
  t.equal(await raise(7), 7, 'two owners never have the same')
  t.equal(await raise(3), 7)
  t.equal(await raise(8), undefined)
  t.equal(await raiseGroupFence(redis, keys, { group: 'persist', partition: 1, fence: 3 }), undefined, 'by group')
  t.equal(await raiseGroupFence(redis, keys, { group: 'push', partition: 2, fence: 3 }), undefined, 'by partition')
})

t.test('what an older owner settles is refused, with the newer fence', async (t) => {
  const { redis, keys } = await bench(t)
  await redis.xgroup('CREATE', keys.messages(1), 'push', '0', 'MKSTREAM')
  const settleUnder = async (fence: number) =>
    (await settle(redis, keys, 'push', [{ partition: 1, fence, done: ['1-1'], dead: [] }]))[0]
  t.equal(await raiseGroupFence(redis, keys, { group: 'push', partition: 1, fence: 9 }), undefined)
  t.equal(await settleUnder(8), 9)
  t.equal(await settleUnder(9), undefined)
})

t.test('what is wrong with one partition is told of that one, and the others are settled', async (t) => {
  const { redis, keys } = await bench(t)
  for (const p of [0, 1, 2, 3]) {
    await redis.xgroup('CREATE', keys.messages(p), 'push', '0', 'MKSTREAM')
    await redis.xadd(keys.messages(p), '1-1', 'x', 'y')
    await redis.xreadgroup('GROUP', 'push', 'one', 'STREAMS', keys.messages(p), '>')
  }
  await redis.set(keys.fence(0, 'push'), 9)
  await redis.lpush(keys.fence(1, 'push'), 'not a fence')
  await redis.set(keys.dead(2, 'push'), 'not a stream')
  const letter = { streamId: '1-1', fields: ['x', 'y'], reason: 'poison', deliveries: 1 }
  const outcomes = await settle(redis, keys, 'push', [
    { partition: 0, fence: 8, done: ['1-1'], dead: [] },
    { partition: 1, fence: 8, done: ['1-1'], dead: [] },
    { partition: 2, fence: 8, done: [], dead: [letter] },
    { partition: 3, fence: 8, done: ['1-1'], dead: [] },
  ])
  t.match(outcomes, [9, { message: /WRONGTYPE/ }, { message: /WRONGTYPE/ }, undefined])
  const pending = await Promise.all([0, 1, 2, 3].map((p) => redis.xpending(keys.messages(p), 'push')))
  t.same(
    pending.map(([count]) => count),
    [1, 1, 1, 0],
  )
})
