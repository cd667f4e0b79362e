import { dmId, firstIdAt } from '@tidings/protocol'
import { generationLedger, insertEntries } from '@tidings/store'
import { formatGeneration, GENERATION_SEQS, readGeneration } from '@tidings/stream'
import t from 'tap'
import { until, world } from './world.js'

const { redis, keys, store, people, say, persist } = await world(t)
await people('alice', 'bob', 'carol', 'dave')

/** A partition as another process leaves it that opened it, after a change of servers, and then died. */
async function openedElsewhere(partition: number): Promise<void> {
  const { generation, server } = await readGeneration(redis, keys, partition)
  const ledger = generationLedger(store, partition)
  const number = generation!.number + 1
  await ledger.write(await ledger.read(), { number, closed: '' })
  await redis.set(keys.generation(partition), formatGeneration({ number, server }))
  await redis.del(keys.leapt(partition))
}

/** Redis has the conversation as it was before its last entry. */
async function forgetLast(conversation: string, last: number): Promise<void> {
  await redis.set(keys.seq(conversation), last - 1)
  await redis.xdel(keys.log(conversation), `${last}-0`)
}

const leapt = (conversation: string) => async (): Promise<boolean> =>
  Number(await redis.get(keys.seq(conversation))) >= GENERATION_SEQS

t.test('what MySQL has and Redis forgot is shown also when the process that opened the partition is gone', async () => {
  const conversation = dmId('alice', 'bob')
  for (const text of ['1', '2', '3']) await say('alice', 'bob', text)
  await persist(conversation)
  await forgetLast(conversation, 3)
  await openedElsewhere(keys.partitionOf(conversation))
  await until(leapt(conversation))
})

t.test('and when it was stored long ago, for Redis may have been away, or come back with an old copy', async () => {
  const conversation = dmId('carol', 'dave')
  for (const text of ['1', '2', '3']) await say('carol', 'dave', text)
  const hourAgo = BigInt(firstIdAt(Date.now() - 3_600_000))
  const log = await redis.xrange(keys.log(conversation), '-', '+')
  const rows = log.map((_, i) => ({
    partition: keys.partitionOf(conversation),
    fence: 1,
    entry: {
      id: String(hourAgo + BigInt(i)),
      conversation,
      seq: i + 1,
      n: i + 1,
      from: 'carol',
      type: 'text',
      content: '{}',
      clientId: '',
      sentAt: Date.now() - 3_600_000,
      trace: '',
    },
  }))
  await insertEntries(store, rows, 'persist')
  await forgetLast(conversation, 3)
  await openedElsewhere(keys.partitionOf(conversation))
  await until(leapt(conversation))
})

t.test('a partition that cannot be read does not hold up the others', async () => {
  const conversation = dmId('bob', 'carol')
  for (const text of ['1', '2', '3']) await say('bob', 'carol', text)
  await persist(conversation)
  const away = keys.generation((keys.partitionOf(conversation) + 1) % keys.partitions)
  await redis.del(away)
  await redis.hset(away, 'not', 'a string')
  await forgetLast(conversation, 3)
  await openedElsewhere(keys.partitionOf(conversation))
  await until(leapt(conversation))
})

t.end()
