import { AppError } from '@tidings/protocol'
import { allWebhooks, insertWebhook, type Store, type WebhookRow } from '@tidings/store'
import t from 'tap'
import { watchHooks } from '../../src/notify/hooks.js'
import { log, until, world } from '../world.js'

const ROW: WebhookRow = {
  ...{ id: 'wh_1', url: 'https://example.com/', events: ['message'], rooms: [], users: [], secret: 'whsec_' },
  ...{
    oldSecret: null,
    oldSecretUntil: null,
    createdBy: 'test',
    createdAt: new Date(),
    disabledAt: null,
    disabledBecause: null,
    dropped: 0,
  },
}

t.test('a batch waits for the webhooks alone, and what was dropped is counted once MySQL takes it', async (t) => {
  const { store } = await world(t)
  await insertWebhook(store, ROW, 100)
  let isSlow = true
  let asked = 0
  /** Ends the counting that MySQL does not answer. */
  let refuse: (() => void) | undefined
  const spied: Store = {
    ...store,
    use: (work) =>
      store.use((db) => {
        asked++
        return work({
          ...db,
          async run(sql, values) {
            if (isSlow && sql.includes('SET dropped'))
              await new Promise((_, reject) => {
                refuse = () => reject(new AppError('unavailable', 'in this test'))
              })
            return db.run(sql, values)
          },
        })
      }),
  }
  const hooks = await watchHooks({ store: spied, dropped: () => undefined, log, mostDue: 2 })
  t.teardown(() => hooks.stop())
  t.same(
    [hooks.admit('wh_1'), hooks.admit('wh_1'), hooks.admit('wh_1', 3), hooks.admit('wh_1')],
    [true, true, false, false],
  )
  await until('they are being counted', () => refuse)
  await hooks.again()
  const dropped = async () => (await allWebhooks(store))[0]!.dropped
  t.equal(await dropped(), 0, 'a batch does not wait for that')

  isSlow = false
  refuse!()
  await until('they are counted', async () => (await dropped()) > 0)
  t.equal(await dropped(), 4)
  const looks = asked
  await until('it has looked again', () => asked >= looks + 2)
  t.equal(await dropped(), 4, 'once')
})
