import t from 'tap'
import { createJanitor, createLogReader, trimLog } from '../src/index.js'
import { appenderOf, item } from './parts.js'
import { bench } from './stores.js'

t.test('idle logs expire only when all of it is stored, and an append takes that back', async (t) => {
  const b = await bench(t, 1)
  const appender = appenderOf(b)
  await appender.append(item())
  const janitor = createJanitor(b.redis, b.keys)
  await b.redis.zadd(b.keys.recent(0), Date.now() - 2 * 3_600_000, 'dm:alice:bob')
  await janitor.forgetIdle(0)
  t.equal(await b.redis.ttl(b.keys.log('dm:alice:bob')), -1, 'nothing is stored yet')
  await b.redis.set(b.keys.mark(0, 'persist'), `${Date.now() + 1}-0`)
  await janitor.forgetIdle(0)
  t.ok((await b.redis.ttl(b.keys.log('dm:alice:bob'))) > 0)
  t.equal(await b.redis.zscore(b.keys.recent(0), 'dm:alice:bob'), null)
  await appender.append(item())
  t.equal(await b.redis.ttl(b.keys.log('dm:alice:bob')), -1, 'in use again')
})

t.test(
  'trimming never cuts what is not stored: the stream stays above the mark, the log above the stored seq and the newest thousand',
  async (t) => {
    const b = await bench(t, 1)
    const appender = appenderOf(b)
    const sent = await Promise.all(Array.from({ length: 3_000 }, () => appender.append(item())))
    const janitor = createJanitor(b.redis, b.keys, 0)
    await janitor.trim(0)
    t.equal(await b.redis.xlen(b.keys.messages(0)), 3_000, 'no mark, no cut')
    const mark = sent[1_500]!.streamId
    await b.redis.set(b.keys.mark(0, 'persist'), mark)
    await janitor.trim(0)
    t.equal(await b.redis.xlen(b.keys.messages(0)), 3_000, 'a mark that was just reached is only remembered')
    await janitor.trim(0)
    const left = await b.redis.xrange(b.keys.messages(0), '-', '+')
    t.ok(left.length < 3_000 && left.length >= 1_500)
    t.ok(
      left.some(([id]) => id === mark),
      'the first one that is not stored is there',
    )

    await trimLog(b.redis, b.keys, 'dm:alice:bob', 500)
    const reader = createLogReader(b.redis, b.keys)
    t.equal((await reader.after('dm:alice:bob', 500, 10_000)).length, 2_500, 'nothing above the stored seq is cut')
    await trimLog(b.redis, b.keys, 'dm:alice:bob', 3_000)
    t.equal((await reader.after('dm:alice:bob', 2_000, 10_000)).length, 1_000, 'the newest thousand stay')
    t.ok((await b.redis.xlen(b.keys.log('dm:alice:bob'))) < 1_200)
  },
)
