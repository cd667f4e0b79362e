import { raiseFence } from '@tidings/store'
import t from 'tap'
import { world } from './world.js'

const { redis, keys, store, persister, append, rows } = await world(t)

t.test('who finds a newer owner stores nothing, and cuts nothing of the log that is not stored', async (t) => {
  const c = 'dm:alice:cut'
  const all = []
  for (let seq = 1; seq <= 1_400; seq++) all.push(await append(c, seq))
  await persister.handle([all[0]!])
  // As the newer owner does, while this one is held up between looking at its fence and writing.
  await raiseFence(store, 'persist', 0, 2)
  const { fenced } = (await persister.handle([all[255]!])) ?? {}
  t.same(fenced, new Map([[0, 2]]))
  t.same(await rows(c), [1])
  // Whatever cuts, does it behind the batch: a few round trips later it is done.
  for (let i = 0; i < 10; i++) await redis.ping()
  t.equal(await redis.xlen(keys.log(c)), 1_400)
})

t.end()
