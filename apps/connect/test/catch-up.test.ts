import { randomBytes } from 'node:crypto'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectRedis, createKeys, createLogReader, leapConversation, openGeneration } from '@tidings/stream'
import t from 'tap'
import { createCatchUp } from '../src/catch-up.js'
import { createSlots } from '../src/slots.js'

t.test('a void in the log is not shown as a message, also to whoever stands right before it', async (t) => {
  const url = given('TIDINGS_REDIS_URL')
  const log = createLogger({ app: 'test', instance: 'test', level: 'silent' })
  const redis = await connectRedis(url, log)
  const namespace = `t${randomBytes(6).toString('hex')}`
  const keys = createKeys(namespace, 1)
  const conversation = 'dm:alice:bob'
  t.teardown(async () => {
    await redis.del(await redis.keys(`${namespace}:*`))
    redis.disconnect()
  })
  await openGeneration(redis, keys, 0, {
    read: async () => ({ number: 1, closed: '' }),
    write: async () => true,
  })
  const leap = await leapConversation(redis, keys, conversation, async () => ({
    seq: 3,
    n: 3,
    sends: [],
    newer: false,
  }))
  t.match(leap, { from: 4 })

  const asked: number[] = []
  const catchUp = createCatchUp({
    reader: createLogReader(redis, keys),
    logic: {
      readHistory: async ({ after }) => {
        asked.push(after!)
        return { entries: [], voids: [], head: leap!.to, complete: true }
      },
      permit: async () => ({ ttlMs: 0 }),
    },
    leaveRoom: () => undefined,
    slots: createSlots(1, 1),
    signal: new AbortController().signal,
    log,
  })
  const page = await catchUp.readAfter('bob', conversation, leap!.to - 1, 100)
  t.same(page.entries, [])
  t.same(asked, [leap!.to - 1], 'logic says what is void')
})
