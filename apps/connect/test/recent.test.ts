import { randomBytes } from 'node:crypto'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectRedis, createKeys, loadScript, scriptFile } from '@tidings/stream'
import t from 'tap'

t.test('what changed since the last look is found, also when Redis’ clock was set meanwhile', async (t) => {
  const url = given('TIDINGS_REDIS_URL')
  const log = createLogger({ app: 'test', instance: 'test', level: 'silent' })
  const redis = await connectRedis(url, log)
  const key = createKeys(`t${randomBytes(6).toString('hex')}`, 1).recent(0)
  t.teardown(async () => {
    await redis.del(key)
    redis.disconnect()
  })
  const recent = loadScript(scriptFile('recent.lua', import.meta.url))
  const look = (lastMs: number | '', elapsedMs: number) =>
    recent.run(redis, [key], [lastMs, elapsedMs, 2_000]) as Promise<[string, string[]]>

  const [before] = await look('', 0)
  const now = Number(before)
  for (const [conversation, ago] of [
    ['new', 1_000],
    ['half-a-minute', 30_000],
    ['old', 600_000],
  ] as const) {
    await redis.zadd(key, now - ago, conversation)
  }
  t.same((await look('', 60_000))[1], ['half-a-minute', 'new'], 'the first look')
  t.same((await look(now - 10_000, 10_000))[1], ['new'], 'the clock went on')
  t.same((await look(now - 300_000, 10_000))[1], ['half-a-minute', 'new'], 'it was set forward')
  t.same((await look(now + 300_000, 10_000))[1], ['new'], 'it was set back')
  const many = Array.from({ length: 20_000 }, (_, i) => [now, `c${i}`]).flat()
  await redis.zadd(key, ...(many as [number, string]))
  t.equal((await look(now - 10_000, 10_000))[1].length, 20_001)
})
