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
  const settleUnder = (fence: number) => settle(redis, keys, 'push', { partition: 1, fence, done: ['1-1'], dead: [] })
  t.equal(await raiseGroupFence(redis, keys, { group: 'push', partition: 1, fence: 9 }), undefined)
  t.equal(await settleUnder(8), 9)
  t.equal(await settleUnder(9), undefined)
})
