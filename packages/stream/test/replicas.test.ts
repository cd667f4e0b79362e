/** TIDINGS_ACCEPT_REPLICAS: accepted means that replicas have it, also when a retry is answered from the once-key. */
import { startRedisReplicated } from '@tidings/infra'
import t from 'tap'
import { type AppendItem, createAppender, createLogReader } from '../src/index.js'
import { bench, until } from './stores.js'

const item: AppendItem = {
  id: '1',
  conversation: 'dm:alice:bob',
  from: 'alice',
  type: 'text',
  content: '{}',
  clientId: 'c-1',
  sentAt: 1,
  trace: '',
}

t.test(
  'while the replica does not follow, neither a send nor its retry is accepted; then the retry is, once',
  async (t) => {
    const set = await startRedisReplicated()
    t.teardown(() => set.stop())
    const b = await bench(t, 1, set.url)
    const replica = await bench(t, 1, set.servers[1]!.url)
    const appenderOn = async () =>
      createAppender({
        redis: await b.connect(),
        keys: b.keys,
        replicas: 1,
        generations: b.generations,
        metrics: b.metrics,
      })
    const appender = await appenderOn()
    t.equal((await appender.append({ ...item, id: '9', clientId: 'before' })).seq, 1)

    await set.stallReplication()
    const unknown = { code: 'outcome_unknown', retryAfter: 1 }
    await t.rejects(appender.append(item), unknown)
    await t.rejects(appender.append(item), unknown, 'the retry finds the once-key, and waits all the same')
    const fresh = await appenderOn()
    await t.rejects(fresh.append(item), unknown, 'a connection that never wrote waits too')
    t.equal((await createLogReader(replica.redis, b.keys).after(item.conversation, 0, 10)).length, 1)

    set.resumeReplication()
    await until('accepted', async () => (await fresh.append(item).catch(() => undefined))?.duplicate === true)
    t.match(await appender.append(item), { seq: 2, duplicate: true })
    const held = await createLogReader(replica.redis, b.keys).after(item.conversation, 0, 10)
    t.same(
      held.map(({ id }) => id),
      ['9', '1'],
      'the replica had it before it was called accepted',
    )
  },
)
