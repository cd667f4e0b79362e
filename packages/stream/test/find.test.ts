/** Finding an entry by its id alone, in streams in which much else lies. */
import t from 'tap'
import { findInStreams, findStreamId } from '../src/index.js'
import { CONVERSATION, fieldsOf } from './parts.js'
import { type Bench, bench } from './stores.js'

const AT = 1_763_700_000_000

/** Entries of others from a moment on, as many in each millisecond. */
async function crowd({ redis, keys }: Bench, fromMs: number, count: number, perMs: number): Promise<void> {
  const pipeline = redis.pipeline()
  for (let i = 0; i < count; i++)
    pipeline.xadd(streamOf(keys), `${fromMs + Math.floor(i / perMs)}-${i % perMs}`, ...fieldsOf({ id: String(i + 1) }))
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error
}

const streamOf = (keys: Bench['keys']): string => keys.messages(keys.partitionOf(CONVERSATION))
const markOf = (keys: Bench['keys']): string => keys.mark(keys.partitionOf(CONVERSATION), 'persist')

t.test('a message is found behind thousands that its partition took in the seconds before it', async (t) => {
  const b = await bench(t)
  const { redis, keys } = b
  await crowd(b, AT - 4_900, 6_000, 2)
  await redis.xadd(streamOf(keys), `${AT + 1}-0`, ...fieldsOf({ id: '999999', content: '{"text":"here"}' }))
  t.match(await findInStreams(redis, keys, '999999', AT), { id: '999999', content: '{"text":"here"}' })
  t.equal(await findStreamId(redis, keys, keys.partitionOf(CONVERSATION), '999999', AT), `${AT + 1}-0`, 'operators too')
  t.match(await findInStreams(redis, keys, '1', AT), { id: '1' }, 'also where clocks differ by seconds')
})

t.test(
  'where more waits to be stored than is looked through, nobody is told that there is no such message',
  async (t) => {
    const b = await bench(t)
    const { redis, keys } = b
    await crowd(b, AT, 12_000, 12)
    const looked = findInStreams(redis, keys, '999999', AT)
    await t.rejects(looked, { code: 'overloaded', retryAfter: 2 })
    t.equal(await findStreamId(redis, keys, keys.partitionOf(CONVERSATION), '999999', AT), undefined)
    await redis.set(markOf(keys), `${AT + 900}-0`)
    t.equal(
      await findInStreams(redis, keys, '999999', AT),
      undefined,
      'when most of it is stored, it is looked through',
    )
  },
)

t.test('what lies below the mark of persist is not looked at, what lies at the mark is', async (t) => {
  const b = await bench(t)
  const { redis, keys } = b
  await crowd(b, AT, 3, 1)
  await redis.set(markOf(keys), `${AT + 1}-0`)
  t.equal(await findInStreams(redis, keys, '1', AT), undefined)
  t.match(await findInStreams(redis, keys, '2', AT), { id: '2' }, 'the first that is not settled')
  t.match(await findInStreams(redis, keys, '3', AT), { id: '3' })
  t.equal(await findStreamId(redis, keys, keys.partitionOf(CONVERSATION), '1', AT), `${AT}-0`, 'operators see it')
})

t.test('a message is found in a stream whose ids are an hour ahead, as after a clock that was wrong', async (t) => {
  const b = await bench(t)
  const { redis, keys } = b
  const now = Date.now()
  await crowd(b, now + 3_600_000, 500, 500)
  await redis.xadd(streamOf(keys), `${now + 3_600_000}-500`, ...fieldsOf({ id: '999999' }))
  t.match(await findInStreams(redis, keys, '999999', now), { id: '999999' })
  t.equal(await findInStreams(redis, keys, '888888', now), undefined)
  await redis.set(markOf(keys), `${now + 3_600_000}-501`)
  t.equal(await findInStreams(redis, keys, '999999', now), undefined, 'what is stored is not looked at')
})
