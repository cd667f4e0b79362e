import { insertTombstone } from '@tidings/store'
import t from 'tap'
import { listConversations } from '../src/conversations.js'
import { ack } from '../src/cursors.js'
import { openDevice, world } from './world.js'

const { deps, redis, keys, store, mysql, people, say, persist, forgetRedis } = await world(t)
const list = (user: string, cursor = '', limit = 0) => listConversations(deps, { user, cursor, limit })
const friends = Array.from({ length: 25 }, (_, i) => `friend${i}`)
await people('alice', ...friends)

t.test(
  'the newest is first; head, delivered, read, unread, title and last message are those of the reader',
  async (t) => {
    await say('alice', 'friend1', 'hello')
    await say('friend1', 'alice', 'hi')
    await say('friend1', 'alice', 'how are you?')
    await say('alice', 'alice', 'a note')
    await openDevice(deps, 'alice', 'phone')
    await openDevice(deps, 'alice', 'laptop')
    await ack(deps, { acks: [{ user: 'alice', device: 'phone', conversation: 'dm:alice:friend1', seq: 2 }] })
    const { conversations, nextCursor } = await list('alice')
    t.equal(nextCursor, '')
    t.match(conversations, [
      {
        id: 'dm:alice:alice',
        kind: 'dm',
        title: 'alice the person',
        head: 1,
        delivered: 0,
        read: 1,
        unread: 0,
        lastMessage: { content: '{"text":"a note"}' },
      },
      {
        id: 'dm:alice:friend1',
        kind: 'dm',
        title: 'friend1 the person',
        head: 3,
        delivered: 2,
        read: 1,
        unread: 2,
        lastMessage: { from: 'friend1', seq: 3 },
      },
    ])
    t.match((await list('friend1')).conversations, [{ title: 'alice the person', delivered: 0, read: 3, unread: 0 }])
    t.same((await list('friend2')).conversations, [])
  },
)

t.test('pages follow each other without a gap or a double, and the cursor is opaque', async (t) => {
  for (const friend of friends) await say(friend, 'alice', 'hey')
  const seen: string[] = []
  let cursor = ''
  let pages = 0
  do {
    const page = await list('alice', cursor, 10)
    seen.push(...page.conversations.map(({ id }) => id))
    cursor = page.nextCursor
    pages++
  } while (cursor !== '')
  t.equal(pages, 3)
  t.equal(seen.length, 26)
  t.equal(new Set(seen).size, 26)
  t.equal(seen[0], 'dm:alice:friend24')
  for (const bad of ['x', Buffer.from('1\nroom:x').toString('base64url'), 'A'.repeat(1_000)]) {
    await t.rejects(list('alice', bad), { code: 'invalid_request' })
  }
  await t.rejects(list('alice', '', 101), { code: 'invalid_request' })
})

t.test('a conversation that Redis has forgotten is listed from MySQL', async (t) => {
  for (const friend of friends) await persist(`dm:alice:${friend}`)
  await persist('dm:alice:alice')
  const before = (await list('alice')).conversations.map(({ id, head }) => [id, head])
  await forgetRedis()
  await deps.writeBehind.flush()
  t.same(
    (await list('alice')).conversations.map(({ id, head }) => [id, head]),
    before,
  )
})

t.test('read positions of MySQL count where Redis has none', async (t) => {
  await store.use((db) => db.run("UPDATE `reads` SET seq = 2, n = 2 WHERE conversation = 'dm:alice:friend1'"))
  const view = async () => (await list('alice')).conversations.find(({ id }) => id === 'dm:alice:friend1')
  t.match(await view(), { read: 2, unread: 2 })
  await redis.hset(keys.read('dm:alice:friend1'), 'alice', '9:9')
  t.match(await view(), { read: 9, unread: 0 }, 'never below zero')
})

t.test('a conversation that ends in a void shows the last message that can be seen', async (t) => {
  await insertTombstone(store, { conversation: 'dm:alice:friend2', seq: 2, reason: 'rejected' })
  t.match(
    (await list('alice')).conversations.find(({ id }) => id === 'dm:alice:friend2'),
    { head: 2, lastMessage: { seq: 1 }, unread: 1 },
  )
})

t.test('with MySQL away the list is unavailable, never a part of it', async (t) => {
  mysql.cut()
  await t.rejects(list('alice'), { code: 'unavailable' })
  mysql.heal()
  t.equal((await list('alice', '', 100)).conversations.length, 26)
})

t.end()
