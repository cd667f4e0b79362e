import t from 'tap'
import { watchRevocations } from '../src/index.js'
import { bench, log, until } from './stores.js'

t.test('each word is told once for each time that it was written, users before sessions', async (t) => {
  const { redis, keys } = await bench(t)
  const now = Date.now()
  const write = (word: string, at: number) => redis.zadd(keys.revoked(), at, word)
  await write('user:before', now - 5_000)
  // Longer ago than anything is remembered, and the newest that there is: it is read with every poll.
  await write('user:long-ago', now - 3_600_000)
  const revocations = await watchRevocations({ redis, keys, keepMs: 1_000, log })
  t.after(() => revocations.stop())
  const told: string[] = []
  revocations.onUsers((users) => told.push(...users))
  revocations.onSends((from, to) => told.push(`${from} to ${to}`))
  revocations.onRevoked((session) => told.push(session))
  await redis.zadd(keys.revoked(), now, 'a-session', now, 'user:mallory', now, 'sends:zoe:abe', now, 'feature:of-later')
  await until('all told', () => told.includes('a-session'))
  t.same([...told].sort(), ['a-session', 'mallory', 'zoe to abe'])
  t.ok(told.indexOf('mallory') < told.indexOf('a-session'))
  t.ok(revocations.has('a-session'))
  t.notOk(revocations.has('user:mallory-not'))
  // After a failover the clock may be behind.
  await redis.zadd(keys.revoked(), now - 2_000, 'user:mallory', now - 2_000, 'sends:zoe:abe')
  await until('told again', () => told.length === 5)
  await write('another-session', now + 1)
  await until('another poll', () => told.includes('another-session'))
  await write('yet-another', now + 2)
  await until('and another', () => told.includes('yet-another'))
  t.equal(told.length, 7, 'and nothing more')
})

t.test('who asks hears all that was told before', async (t) => {
  const { redis, keys, connect } = await bench(t)
  const other = await connect()
  const revocations = await watchRevocations({ redis: other, keys, keepMs: 60_000, log })
  t.after(() => revocations.stop())
  for (let i = 0; i < 50; i++) {
    await redis.zadd(keys.revoked(), Date.now(), `session-${i}`)
    await Promise.all([revocations.hear(), revocations.hear()])
    t.ok(revocations.has(`session-${i}`))
  }
  const late = redis.zadd(keys.revoked(), Date.now(), 'while-one-runs')
  const first = revocations.hear()
  await late
  await revocations.hear()
  t.ok(revocations.has('while-one-runs'))
  await first
  other.disconnect()
  await t.rejects(revocations.hear(), { code: 'unavailable' })
})
