import { randomBytes } from 'node:crypto'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectRedis, createKeys } from '@tidings/stream'
import t from 'tap'
import { createTickets } from '../src/index.js'

t.test('a ticket works once, and not longer than the token or the session behind it', async (t) => {
  const log = createLogger({ app: 'test', instance: 'test', level: 'silent' })
  const redis = await connectRedis(given('TIDINGS_REDIS_URL'), log)
  t.after(() => redis.disconnect())
  const keys = createKeys(`t-${randomBytes(6).toString('hex')}`, 4)
  const tickets = createTickets(redis, keys, (session) => session === 'ended')
  const alice = { user: 'alice', sessionId: 'one', expiresAt: Date.now() + 60_000, scopes: undefined }
  const ticket = await tickets.issue(alice)
  t.same(await tickets.redeem(ticket), alice)
  const refused = { code: 'unauthenticated' }
  await t.rejects(tickets.redeem(ticket), refused, 'used')
  await t.rejects(tickets.redeem('made-up'), refused)
  await t.rejects(
    tickets.redeem(await tickets.issue({ ...alice, expiresAt: Date.now() - 1 })),
    refused,
    'the token is over',
  )
  await t.rejects(tickets.redeem(await tickets.issue({ ...alice, sessionId: 'ended' })), refused)
})
