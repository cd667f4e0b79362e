import { randomBytes } from 'node:crypto'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectRedis, createKeys } from '@tidings/stream'
import t from 'tap'
import { createPersisted } from '../src/persisted.js'

const log = createLogger({ app: 'api', instance: 'test', level: 'silent' })
const FOREVER_MS = 600_000

t.test(
  'a wait ends when the mark has passed the entry, when the generation changes, and at its deadline',
  async (t) => {
    const url = given('TIDINGS_REDIS_URL')
    const redis = await connectRedis(url, log)
    const keys = createKeys(`t${randomBytes(6).toString('hex')}`, 2)
    t.teardown(async () => {
      await Promise.all([0, 1].map((p) => redis.del(keys.mark(p, 'persist'), keys.generation(p))))
      redis.disconnect()
    })
    await redis.set(keys.generation(0), '1 abc')
    await redis.set(keys.generation(1), '1 abc')
    await redis.set(keys.mark(0, 'persist'), '100-5')
    const persisted = createPersisted({ redis, keys, log })
    t.teardown(() => persisted.stop())
    const at = (streamId: string, partition = 0) => ({ streamId, partition, generation: 1 })

    t.equal(await persisted.wait(at('100-4'), FOREVER_MS), true)
    t.equal(await persisted.wait(at('100-5'), 60), false, 'the mark is the first that is not stored')
    t.equal(await persisted.wait(at('1-1', 1), 60), false, 'no mark yet')
    const later = persisted.wait(at('100-5'), FOREVER_MS)
    const other = persisted.wait(at('101-0'), FOREVER_MS)
    await redis.set(keys.mark(0, 'persist'), '100-6')
    t.equal(await later, true)
    await redis.set(keys.generation(0), '2 def')
    t.equal(await other, false, 'nobody can tell any more')
  },
)
