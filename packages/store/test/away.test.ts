import t from 'tap'
import { findUser, insertEntries, insertUser, isAway, maxSeq, transaction } from '../src/index.js'
import { entryOf, freshDatabase, throughProxy } from './world.js'

const { store, url } = await freshDatabase(t)
const batch = (seq: number) => [{ partition: 0, fence: 1, entry: entryOf('dm:a:b', seq) }]

t.test('a database that is away is unavailable, and works again by itself', async (t) => {
  const proxy = await throughProxy(t, url)
  await insertEntries(proxy.store, batch(1), 'persist')
  proxy.cut()
  await t.rejects(insertEntries(proxy.store, batch(2), 'persist'), { code: 'unavailable', retryAfter: 2 })
  await t.rejects(proxy.store.ping(), { code: 'unavailable' })
  proxy.heal()
  await insertEntries(proxy.store, batch(2), 'persist')
  t.equal(await maxSeq(proxy.store, 'dm:a:b'), 2)
})

t.test(
  'a database that does not answer is unavailable within the bound, and its connection is not used again',
  async (t) => {
    const proxy = await throughProxy(t, url)
    await proxy.store.ping()
    proxy.freeze()
    const began = performance.now()
    await t.rejects(maxSeq(proxy.store, 'dm:a:b'), { code: 'unavailable' })
    t.ok(performance.now() - began < 6_000)
    proxy.heal()
    t.equal(await maxSeq(proxy.store, 'dm:a:b'), 2)
  },
)

t.test('a deadlock is tried again', async (t) => {
  await insertUser(store, { id: 'x', displayName: '0', passwordHash: null, createdAt: new Date() })
  await insertUser(store, { id: 'y', displayName: '0', passwordHash: null, createdAt: new Date() })
  let firstHas: () => void = () => undefined
  const both = [new Promise<void>((resolve) => (firstHas = resolve))]
  let secondHas: () => void = () => undefined
  both.push(new Promise<void>((resolve) => (secondHas = resolve)))
  let runs = 0
  const change = (first: string, second: string, has: () => void) =>
    transaction(store, async (db) => {
      runs++
      await db.run("UPDATE users SET display_name = CONCAT(display_name, '+') WHERE id = ?", [first])
      has()
      await Promise.all(both)
      await db.run("UPDATE users SET display_name = CONCAT(display_name, '+') WHERE id = ?", [second])
    })
  await Promise.all([change('x', 'y', firstHas), change('y', 'x', secondHas)])
  t.ok(runs > 2, 'one of them was the victim')
  t.equal((await findUser(store, 'x'))?.displayName, '0++')
  t.equal((await findUser(store, 'y'))?.displayName, '0++')
})

t.test('an error shows neither the statement nor its values', async (t) => {
  try {
    await store.use(({ orm }) => orm.execute("SELECT 'very-secret' FROM users WHERE nothing = 'very-secret'"))
    t.fail('there is no such column')
  } catch (error) {
    t.notMatch(JSON.stringify(error, Object.getOwnPropertyNames(error)), /very-secret/)
    t.equal(isAway(error), false)
  }
})

t.test('a stopped store is away', async (t) => {
  const other = (await freshDatabase(t)).store
  await other.stop()
  await other.stop()
  await t.rejects(other.ping(), { code: 'unavailable' })
})

t.end()
