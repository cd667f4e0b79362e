/** What bounds a search. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Store } from '@tidings/store'
import t from 'tap'
import { createSearches, searchMessages } from '../src/search.js'
import { world } from './world.js'

const asked = { user: 'alice', query: 'hello', conversation: '', from: '', before: 0, after: 0, cursor: '', limit: 10 }

t.test('a search over many conversations takes no longer than one over a few may', async (t) => {
  const w = await world(t)
  await w.people('alice')
  const conversations = Array.from({ length: 1_200 }, (_, i) => `dm:alice:bob${i}`)
  await w.redis.sadd(w.keys.conversations('alice'), ...conversations)
  let statements = 0
  let slowMs = 0
  /** Each answer of MySQL takes its time, and none of them too much. */
  const use: Store['use'] = async (work) => {
    statements++
    await delay(slowMs)
    return w.store.use(work)
  }
  const deps = { ...w.deps, store: Object.assign(Object.create(w.store), { use }) as Store }
  t.same(await searchMessages(deps, asked), { hits: [], nextCursor: '', complete: true })
  const all = statements
  statements = 0
  slowMs = 700
  await t.rejects(searchMessages(deps, asked), { code: 'unavailable', retryAfter: 2 })
  t.ok(statements < all, `${statements} of ${all} statements`)
})

t.test('of one user two are searched for at a time', async (t) => {
  const searches = createSearches(true)
  let end: () => void = () => undefined
  const ended = new Promise<void>((resolve) => (end = resolve))
  const both = [searches.run('alice', () => ended), searches.run('alice', () => ended)]
  await t.rejects(
    searches.run('alice', () => ended),
    { code: 'overloaded' },
  )
  t.equal(await searches.run('bob', async () => 'found'), 'found')
  end()
  await Promise.all(both)
  await t.rejects(
    createSearches(false).run('alice', async () => undefined),
    { code: 'not_found' },
  )
})
