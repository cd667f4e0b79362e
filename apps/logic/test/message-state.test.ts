/** One message, looked for where it may be. */
import type { Store } from '@tidings/store'
import t from 'tap'
import { getMessage } from '../src/message-state.js'
import { world } from './world.js'

t.test('a message that is stored while it is looked for is found', async (t) => {
  const w = await world(t)
  await w.people('alice', 'bob')
  const { id } = await w.say('alice', 'bob', 'hello')
  const conversation = 'dm:alice:bob'
  let asked = 0
  /** MySQL does not have it when it is first asked; then persist stores it, and its stream is cut. */
  const use: Store['use'] = async (work) => {
    const answer = await w.store.use(work)
    if (++asked === 1) {
      await w.persist(conversation)
      await w.redis.xtrim(w.keys.messages(w.keys.partitionOf(conversation)), 'MAXLEN', 0)
    }
    return answer
  }
  const deps = { ...w.deps, store: Object.assign(Object.create(w.store), { use }) as Store }
  t.match(await getMessage(deps, { user: 'bob', id }), { stored: true, entry: { id } })
  t.ok(asked >= 2)
})
