/** Who may know who is online, and what is answered. */
import { dmId } from '@tidings/protocol'
import { saveSeen } from '@tidings/stream'
import t from 'tap'
import { presence } from '../src/presence.js'
import { world } from './world.js'

const { deps, redis, keys, online, mysql, people, say, persist, forgetRedis } = await world(t)
const names = ['alice', 'bob', 'carol', 'dave', 'erin', 'eve']
await people(...names)
const ask = async (user: string, users: readonly string[] = names) => {
  const { people } = await presence(deps, { user, users: [...users] })
  return people
}
const known = async (user: string): Promise<string[]> => (await ask(user)).map((one) => one.user)

t.test('only those who share a conversation are answered for', async (t) => {
  for (const name of names) online.set(name, 1)
  t.same(await known('alice'), ['alice'], 'oneself')
  await say('alice', 'bob', 'hi')
  t.same(await known('alice'), ['alice', 'bob'])
  t.same(await known('bob'), ['alice', 'bob'])
  t.same(await known('eve'), ['eve'])
  // Looked at, and nothing was said: the index alone is not enough.
  await redis.sadd(keys.conversations('alice'), dmId('alice', 'eve'))
  t.same(await known('alice'), ['alice', 'bob'])
  t.same(await ask('alice', ['nobody', 'Bob', 'eve']), [], 'what does not exist looks like what one may not see')
})

t.test('in a room together: while both are members, and Redis knows it', async (t) => {
  const [room, other] = ['room:abcdefgh12345678', 'room:hgfedcba87654321']
  await say('carol', 'carol', 'opens the partition of the room')
  const open = async (name: string, members: Record<string, string>): Promise<void> => {
    const partition = keys.partitionOf(name)
    await deps.generations.open(partition)
    const [number] = (await redis.get(keys.generation(partition)))!.split(' ')
    await redis.hset(keys.members(name), '*', `${number} 1 all`, ...Object.entries(members).flat())
  }
  await open(room, { carol: '1:0', dave: '2:0', erin: '0:0' })
  await open(other, { eve: '1:0', dave: '2:0' })
  for (const user of ['carol', 'dave', 'erin', 'alice']) await redis.sadd(keys.conversations(user), room)
  await redis.sadd(keys.conversations('dave'), other)
  t.same(await known('carol'), ['carol', 'dave'], 'erin is not in it yet')
  t.same(await known('dave'), ['carol', 'dave', 'eve'])
  t.same(await known('erin'), ['erin'])
  t.same(await known('alice'), ['alice', 'bob'], 'to have the room in the index is not to be in it')
  await redis.hdel(keys.members(room), 'carol')
  t.same(await known('carol'), ['carol'], 'who has left')
  await redis.hset(keys.members(other), '*', '999999 1 all')
  t.same(await known('dave'), ['dave'], 'what is of another generation counts as lost')
})

t.test('devices, and when somebody was last here', async (t) => {
  online.clear()
  online.set('bob', 2)
  await saveSeen(
    redis,
    keys,
    new Map([
      ['bob', 5],
      ['alice', 7],
    ]),
  )
  t.same(await ask('alice', ['bob', 'alice', 'bob']), [
    { user: 'bob', online: true, devices: 2, lastSeen: 0 },
    { user: 'alice', online: false, devices: 0, lastSeen: 7 },
  ])
  t.ok((await redis.ttl(keys.seen('bob'))) > 89 * 86_400, 'it is forgotten some day')
  online.clear()
  await redis.del(keys.seen('alice'))
  t.same(
    (await ask('bob', ['alice', 'bob'])).map(({ lastSeen }) => lastSeen),
    [0, 5],
  )
})

t.test('bad input', async (t) => {
  const many = Array.from({ length: 201 }, (_, i) => `u${i}`)
  await t.rejects(ask('alice', many), { code: 'invalid_request' })
  t.same(await ask('alice', many.slice(1)), [])
  await t.rejects(ask('alice', ['../x']), { code: 'invalid_request' })
  await t.rejects(ask('a b', ['bob']), { code: 'invalid_request' })
  t.same(await ask('alice', []), [])
})

t.test('what Redis forgot MySQL knows; without it they are strangers for that time', async (t) => {
  await persist(dmId('alice', 'bob'))
  await forgetRedis()
  t.same(await known('alice'), ['alice', 'bob'])
  mysql.cut()
  t.same(await known('alice'), ['alice'])
  mysql.heal()
})

t.end()
