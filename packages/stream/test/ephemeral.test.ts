/** The bus for what may be lost: who hears what, what is dropped, and that it comes back by itself. */
import { startLink, startRedis, startRedisCluster } from '@tidings/infra'
import type { Ephemeral } from '@tidings/protocol'
import { createLogger, type Logger } from '@tidings/service'
import t, { type Test } from 'tap'
import { createEphemeralPublisher, ephemeralChannel, type Redis, subscribeEphemeral } from '../src/index.js'
import { type Bench, bench, log, until } from './stores.js'

const typing = (user: string): Ephemeral => ({ op: 'typing', conversation: 'dm:alice:bob', user })

async function listen(t: Test, b: Bench, redis: Redis = b.redis, its: Logger = log) {
  const heard = { batches: [] as (readonly Ephemeral[])[], users: [] as string[], missed: 0 }
  const subscriber = await subscribeEphemeral({
    redis,
    keys: b.keys,
    listener: {
      events(events) {
        heard.batches.push(events)
        heard.users.push(...events.map(({ user }) => user))
      },
      missed: () => void heard.missed++,
    },
    lookEveryMs: 100,
    log: its,
  })
  t.teardown(() => subscriber.stop())
  return heard
}

function speak(b: Bench, redis: Pick<Redis, 'publish'> = b.redis) {
  const lost = { events: 0 }
  const { publish, stop } = createEphemeralPublisher({
    redis,
    keys: b.keys,
    dropped: (events) => {
      lost.events += events
    },
    log,
  })
  return { publish, stop, lost }
}

t.test('everybody hears what comes in one turn as one message, in order', async (t) => {
  const b = await bench(t)
  const [here, there] = [await listen(t, b), await listen(t, b)]
  const { publish, lost } = speak(b)
  for (const user of ['a', 'b', 'c']) publish(typing(user))
  await until('both hear', () => here.users.length === 3 && there.users.length === 3)
  publish(typing('d'))
  await until('both hear again', () => here.users.length === 4 && there.users.length === 4)
  for (const { batches, users } of [here, there]) {
    t.same(users, ['a', 'b', 'c', 'd'])
    t.equal(batches.length, 2)
  }
  t.equal(lost.events, 0)
})

t.test('what comes in many turns goes in a few messages, in order', async (t) => {
  const b = await bench(t)
  const { batches, users } = await listen(t, b)
  const { publish, lost } = speak(b)
  const all = Array.from({ length: 1_200 }, (_, i) => `u${i}`)
  for (const user of all) {
    publish(typing(user))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await until('all are heard', () => users.length === all.length)
  t.same(users, all)
  t.ok(batches.length < all.length / 20, `${batches.length} messages`)
  t.ok(batches.every((batch) => batch.length <= 500))
  t.equal(lost.events, 0)
})

t.test('what waits when its process stops is still told', async (t) => {
  const b = await bench(t)
  const told: string[] = []
  const { publish, stop } = speak(b, {
    async publish(_channel: unknown, text: unknown) {
      told.push(...(JSON.parse(String(text)) as Ephemeral[]).map(({ user }) => user))
      return 1
    },
  })
  await stop()
  publish(typing('a'))
  await until('the first is told', () => told.length === 1)
  publish(typing('b'))
  await stop()
  t.same(told, ['a', 'b'])
})

t.test('what fills a message does not wait', async (t) => {
  const b = await bench(t)
  const sizes: number[] = []
  const { publish } = speak(b, {
    async publish(_channel: unknown, text: unknown) {
      sizes.push((JSON.parse(String(text)) as unknown[]).length)
      return 1
    },
  })
  const turns = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  publish(typing('first'))
  await turns(5)
  t.same(sizes, [1])
  publish(typing('second'))
  await turns(5)
  for (let i = 0; i < 499; i++) publish(typing(`u${i}`))
  await turns(20)
  t.same(sizes, [1, 500])
})

t.test('what cannot be read is left out, and what is beside it is heard', async (t) => {
  const b = await bench(t)
  const heard = await listen(t, b)
  const channel = ephemeralChannel(b.keys)
  await b.redis.publish(channel, 'not json')
  await b.redis.publish(channel, '{"op":"typing"}')
  const strange = [null, 7, { op: 'typing', user: 'x' }, { op: 'of tomorrow', user: 'x', conversation: 'y' }]
  await b.redis.publish(channel, JSON.stringify([...strange, { op: 'presence', user: 'x' }, typing('right')]))
  await until('the right one', () => heard.users.length > 0)
  t.same(heard.users, ['right'])
})

t.test('other instances on the same Redis hear nothing', async (t) => {
  const [b, other] = [await bench(t), await bench(t)]
  const [mine, theirs] = [await listen(t, b), await listen(t, other)]
  speak(b).publish(typing('a'))
  speak(other).publish(typing('z'))
  await until('each its own', () => mine.users.length > 0 && theirs.users.length > 0)
  t.same([mine.users, theirs.users], [['a'], ['z']])
})

t.test('more than the bound is dropped, not kept', async (t) => {
  const b = await bench(t)
  const sent: string[] = []
  let answer = (): void => {}
  const slow = {
    publish: async (_channel: string, text: string) => {
      sent.push(text)
      await new Promise<void>((resolve) => {
        answer = resolve
      })
      return 1
    },
  } as unknown as Pick<Redis, 'publish'>
  const { publish, lost } = speak(b, slow)
  for (let i = 0; i < 12_000; i++) publish(typing('a'))
  t.equal(lost.events, 2_000)
  await until('the first is on its way', () => sent.length === 1)
  t.equal(JSON.parse(sent[0]!).length, 500, 'one message is bounded, too')
  answer()
  await until('the next one only then', () => sent.length === 2)
})

t.test(
  'Redis killed and back: what is published meanwhile is dropped and counted, then all is heard again',
  async (t) => {
    const redis = await startRedis()
    t.teardown(() => redis.stop())
    const b = await bench(t, 4, redis.url)
    const heard = await listen(t, b)
    const { publish, lost } = speak(b)
    publish(typing('before'))
    await until('heard', () => heard.users.length === 1)
    await redis.kill()
    publish(typing('during'))
    await until('it is dropped', () => lost.events === 1)
    t.equal(heard.missed, 0)
    await redis.restart()
    await until('listening again', () => heard.missed === 1)
    await until('heard again', () => {
      publish(typing('after'))
      return heard.users.includes('after')
    })
    t.notOk(heard.users.includes('during'))
  },
)

t.test('a link that falls silent without a sign is left for a new one', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const link = await startLink(Number(new URL(redis.url).port))
  t.teardown(() => link.stop())
  const url = new URL(redis.url)
  url.port = String(link.port)
  const direct = await bench(t, 4, redis.url)
  const through = await bench(t, 4, url.href)
  const lines: string[] = []
  const its = createLogger({ app: 'test', instance: 'test', level: 'warn' }, { write: (line) => void lines.push(line) })
  const heard = await listen(t, direct, through.redis, its)
  link.stall()
  await until('the silent one is given up', () => lines.some((line) => line.includes('are not heard now')))
  link.resume()
  await until('a new one', () => heard.missed > 0)
  const { publish } = speak(direct)
  await until('heard', () => {
    publish(typing('after'))
    return heard.users.includes('after')
  })
})

t.test('on a cluster everybody hears what any node is given', async (t) => {
  const cluster = await startRedisCluster()
  t.teardown(() => cluster.stop())
  const b = await bench(t, 8, cluster.url)
  const heard = [await listen(t, b), await listen(t, b)]
  const { publish, lost } = speak(b)
  for (let i = 0; i < 20; i++) {
    publish(typing(`u${i}`))
    await until('both hear', () => heard.every(({ users }) => users.length === i + 1))
  }
  t.equal(lost.events, 0)
})
