import { readPositions } from '@tidings/store'
import t from 'tap'
import { listConversations } from '../src/conversations.js'
import { read } from '../src/reads.js'
import { until, world } from './world.js'

const { deps, redis, keys, store, mysql, people, say, persist, forgetRedis } = await world(t)
await people('alice', 'Alice', 'bob', 'carol')
const conversation = 'dm:alice:bob'
const seen = (user: string, seq: number, of = conversation) => read(deps, { user, conversation: of, seq })
const view = async (user: string) => {
  const { conversations } = await listConversations(deps, { user, cursor: '', limit: 0 })
  const found = conversations.find(({ id }) => id === conversation)
  return found && `${found.read} read, ${found.unread} unread`
}
const stored = async (user: string) => (await readPositions(store, user, [conversation])).get(conversation)

t.test('what was read counts no more, and a read position never moves back', async (t) => {
  for (const text of ['1', '2', '3', '4', '5']) await say('alice', 'bob', text)
  t.equal(await view('bob'), '0 read, 5 unread')
  await seen('bob', 3)
  t.equal(await view('bob'), '3 read, 2 unread')
  await seen('bob', 3)
  await seen('bob', 1)
  await seen('bob', 0)
  t.equal(await view('bob'), '3 read, 2 unread')
  t.equal(await view('alice'), '5 read, 0 unread', "one's own sends are read")
  await Promise.all([4, 5, 4, 3, 5, 2].map((seq) => seen('bob', seq)))
  t.equal(await view('bob'), '5 read, 0 unread')
})

t.test('beyond the head it is refused, and so is what is not mine', async (t) => {
  await say('alice', 'carol', 'hi')
  await t.rejects(seen('carol', 2, 'dm:alice:carol'), { code: 'beyond_head' })
  t.equal(await redis.hget(keys.read('dm:alice:carol'), 'carol'), null, 'unmoved')
  await t.rejects(seen('carol', 1), { code: 'conversation_not_found' })
  await t.rejects(seen('Alice', 1), { code: 'conversation_not_found' }, 'byte for byte')
  await t.rejects(seen('bob', 1, 'dm:bob:alice'), { code: 'conversation_not_found' })
  await t.rejects(seen('bob', -1), { code: 'invalid_request' })
  await t.rejects(seen('bob', 1.5), { code: 'invalid_request' })
  await t.rejects(seen('bob', 1, 'dm:bob:carol'), { code: 'beyond_head' }, 'nothing was said there')
})

t.test('entries that nobody counts as messages are not unread', async (t) => {
  await redis.set(keys.skip(conversation), 0)
  const { n } = (await deps.reader.newest([conversation]))[0]!
  await redis.set(keys.skip(conversation), 2)
  await say('alice', 'bob', 'after two that do not count')
  t.equal(n, 5)
  t.equal((await deps.reader.newest([conversation]))[0]!.n, 4)
  await redis.del(keys.skip(conversation))
  await say('alice', 'bob', 'and one that does')
  await seen('bob', 6)
  t.equal(await redis.hget(keys.read(conversation), 'bob'), '6:4', 'n of the entry itself')
})

t.test('read positions reach MySQL behind, and come back after Redis forgot them', async (t) => {
  await persist(conversation)
  await until(() => deps.writeBehind.depth === 0)
  t.same(await stored('bob'), { seq: 6, n: 4 })
  const before = await view('bob')
  await forgetRedis()
  t.equal(await view('bob'), before, 'listed from MySQL')
  await seen('bob', 2)
  t.equal(await redis.hget(keys.read(conversation), 'bob'), '6:4', 'put back into Redis, not moved back')
  await seen('bob', 7)
  await until(async () => (await stored('bob'))?.seq === 7)
  await forgetRedis()
  t.equal(await view('bob'), '7 read, 0 unread')
})

t.test('what one’s own sends moved is stored when the list is looked at', async (t) => {
  const other = 'dm:alice:carol'
  const storedThere = async () => (await readPositions(store, 'alice', [other])).get(other)
  const { seq } = await say('alice', 'carol', 'one more')
  await persist(other)
  t.equal(await storedThere(), undefined, 'not once per message')
  await view('alice')
  await until(async () => (await storedThere())?.seq === seq)
  await forgetRedis()
  const { conversations } = await listConversations(deps, { user: 'alice', cursor: '', limit: 0 })
  t.match(
    conversations.find(({ id }) => id === other),
    { read: seq, unread: 0 },
  )
})

t.test('with MySQL away reading goes on, and the further position wins afterwards', async (t) => {
  await forgetRedis()
  const { seq } = await say('alice', 'bob', '8')
  mysql.cut()
  await seen('bob', seq)
  t.match(await redis.hget(keys.read(conversation), 'bob'), new RegExp(`^${seq}:`))
  await t.rejects(seen('bob', 3), { code: 'unavailable' }, 'what only MySQL can count')
  await redis.hset(keys.read(conversation), 'bob', '1:1')
  mysql.heal()
  await until(async () => (await stored('bob'))?.seq === seq)
  t.equal(await view('bob'), `${seq} read, 0 unread`, 'the further one of both')
})

t.test('what was read and then forgotten neither hides what comes after nor counts with it', async (t) => {
  await people('dora', 'erin', 'finn')
  const unreadOf = async (user: string, of: string) => {
    const { conversations } = await listConversations(deps, { user, cursor: '', limit: 0 })
    return conversations.find(({ id }) => id === of)?.unread
  }
  const [all, some] = ['dm:dora:erin', 'dm:dora:finn']
  const TWICE = [
    ['erin', all],
    ['finn', some],
  ] as const
  const position = async (user: string, of: string) => (await readPositions(store, user, [of])).get(of)?.seq
  const seqs: number[] = []
  for (const [to, of] of TWICE) {
    for (const text of ['1', '2', '3']) seqs.push((await say('dora', to, text)).seq)
    await persist(of)
    for (const text of ['4', '5']) seqs.push((await say('dora', to, text)).seq)
  }
  await seen('erin', seqs[4]!, all)
  await seen('finn', seqs[6]!, some)
  t.same([await unreadOf('erin', all), await unreadOf('finn', some)], [0, 3])
  await until(async () => (await position('erin', all)) === seqs[4] && (await position('finn', some)) === seqs[6])
  await forgetRedis()
  await deps.generations.leap(keys.partitionOf(all), [all])
  t.equal(await unreadOf('erin', all), 0, 'a void is not unread')
  for (const [to, of] of TWICE) {
    await say('dora', to, 'after')
    t.equal(await unreadOf('dora', of), 0, 'own sends are read')
  }
  t.equal(await unreadOf('erin', all), 1, 'what came after, although five were read')
  t.equal(await unreadOf('finn', some), 2, 'the third and what came after: two are forgotten')
  await persist(some)
  t.equal(await unreadOf('finn', some), 2, 'the same when the void is stored')
  const head = (await deps.reader.heads([some]))[0]!
  await seen('finn', head - 1, some)
  t.equal(await unreadOf('finn', some), 1, 'read up to the end of the void')
  await seen('finn', head, some)
  t.equal(await unreadOf('finn', some), 0)
})

t.end()
