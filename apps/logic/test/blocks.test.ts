import t from 'tap'
import { block, listBlocks, unblock } from '../src/blocks.js'
import { startRevocations } from '../src/revocations.js'
import { log, permit, until, world } from './world.js'

const { deps, redis, keys, store, people, mysql, forgetRedis } = await world(t)
await people('alice', 'bob', 'carol', 'gone')
await store.use((db) => db.run("UPDATE users SET deleted_at = NOW(3) WHERE id = 'gone'"))
const told = (word: string) => redis.zscore(keys.revoked(), word)
const ask = (user: string, conversation: string) => permit(deps, { user, conversation })

t.test('a block is one way: a permit less, and a word to the edges each time', async (t) => {
  await block(deps, { user: 'alice', blocked: 'bob' })
  await t.rejects(ask('bob', 'dm:alice:bob'), { code: 'blocked' })
  t.match(await ask('alice', 'dm:alice:bob'), { ttlMs: Number })
  t.match(await ask('carol', 'dm:alice:carol'), { ttlMs: Number })
  const first = await told('sends:bob:alice')
  t.ok(first)
  t.equal(await told('sends:alice:bob'), null)
  await until(async () => {
    await block(deps, { user: 'alice', blocked: 'bob' })
    return Number(await told('sends:bob:alice')) > Number(first)
  })
  t.same((await store.use((db) => db.select('SELECT * FROM blocks'))).length, 1)
  await unblock(store, { user: 'bob', blocked: 'alice' })
  await t.rejects(ask('bob', 'dm:alice:bob'), { code: 'blocked' }, 'another’s block is not taken back')
  await unblock(store, { user: 'alice', blocked: 'bob' })
  await unblock(store, { user: 'alice', blocked: 'bob' })
  t.match(await ask('bob', 'dm:alice:bob'), { ttlMs: Number })
})

t.test('a Redis that forgot is told of the blocks that an edge may not know', async (t) => {
  await block(deps, { user: 'alice', blocked: 'carol' })
  await block(deps, { user: 'alice', blocked: 'bob' })
  await store.use((db) => db.run("UPDATE blocks SET created_at = NOW(3) - INTERVAL 25 HOUR WHERE blocked = 'carol'"))
  await forgetRedis()
  const next = startRevocations({ redis, keys, store, accessTokenS: 600, log })
  t.after(() => next.stop())
  await until(() => next.settled)
  t.ok(await told('sends:bob:alice'))
  t.equal(await told('sends:carol:alice'), null, 'nobody has kept a permit for so long')
  t.same(await listBlocks(store, { user: 'alice', cursor: '', limit: 1 }), { users: ['bob'], nextCursor: 'bob' })
  t.same(await listBlocks(store, { user: 'alice', cursor: 'bob', limit: 1 }), { users: ['carol'], nextCursor: '' })
})

t.test('what cannot be a block, and a database that is away', async (t) => {
  const bad: [string, string, string][] = [
    ['alice', 'alice', 'invalid_request'],
    ['alice', 'a b', 'invalid_request'],
    ['', 'bob', 'invalid_request'],
    ['alice', 'nobody', 'user_not_found'],
    ['alice', 'gone', 'user_not_found'],
  ]
  for (const [user, blocked, code] of bad)
    await t.rejects(block(deps, { user, blocked }), { code }, `${user} ${blocked}`)
  await t.rejects(unblock(store, { user: 'alice', blocked: 'nobody' }), { code: 'user_not_found' })
  await unblock(store, { user: 'alice', blocked: 'gone' })
  await t.rejects(listBlocks(store, { user: 'alice', cursor: 'a b', limit: 1 }), { code: 'invalid_request' })
  await t.rejects(listBlocks(store, { user: 'alice', cursor: '', limit: 201 }), { code: 'invalid_request' })
  mysql.cut()
  await t.rejects(block(deps, { user: 'alice', blocked: 'bob' }), { code: 'unavailable' })
  mysql.heal()
})

t.end()
