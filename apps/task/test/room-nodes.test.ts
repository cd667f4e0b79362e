import { randomBytes } from 'node:crypto'
import { type Entry, type RoomEvent, roomEventClientId } from '@tidings/protocol'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectRedis, createKeys, type Delivery } from '@tidings/stream'
import t, { type Test } from 'tap'
import { createRoomNodes } from '../src/room-nodes.js'

const log = createLogger({ app: 'task', instance: 'test', level: 'silent' })
const ROOM = 'room:abcdefgh12345678'
const NODES = ['n1', 'n2', 'n3', 'n4']

const delivery = (event?: Partial<RoomEvent>, fence = 1, conversation = ROOM): Delivery => {
  const entry: Entry = {
    ...{ id: '1', conversation, seq: 1, n: 1, from: 'alice', sentAt: 1, trace: '' },
    type: event ? 'system' : 'text',
    clientId: event ? roomEventClientId(1) : '',
    content: JSON.stringify(event ? { event: 'room', change: 'added', version: 1, by: 'alice', ...event } : {}),
  }
  return { streamId: '1-1', partition: 0, fence, entry }
}

const connect = () => connectRedis(given('TIDINGS_REDIS_URL'), log)

async function setUp(t: Test) {
  const [redis, asked] = await Promise.all([connect(), connect()])
  t.after(() => {
    redis.disconnect()
    asked.disconnect()
  })
  const keys = createKeys(`t${randomBytes(6).toString('hex')}`, 1)
  await redis.set(keys.generation(0), '1 abc')
  const at = new Map([
    ['alice', ['n1']],
    ['bob', ['n1', 'n2']],
    ['carol', ['n3']],
  ])
  const where = { nodesOf: (user: string) => at.get(user) ?? [] }
  const rooms = createRoomNodes({ redis: asked, keys, where, allNodes: () => NODES })
  return {
    ...{ redis, asked, keys },
    isIn: (...users: string[]) =>
      redis.hset(keys.members(ROOM), '*', '1 1 joined', ...users.flatMap((user) => [user, '1:0'])),
    async nodes(...batch: Delivery[]): Promise<string[][]> {
      const nodes = await rooms.learn(batch)
      return batch.map((one) => [...nodes.nodesOf(one)].sort())
    },
  }
}

t.test('a small room’s entries go where its members are, and its changes to whom they let in and out', async (t) => {
  const { isIn, nodes, redis, keys } = await setUp(t)
  await isIn('alice')
  t.same(await nodes(delivery()), [['n1']])
  t.same(await nodes(delivery({ joined: ['carol'] }), delivery()), [
    ['n1', 'n3'],
    ['n1', 'n3'],
  ])
  t.same(await nodes(delivery(), delivery({ change: 'left', left: ['alice'] })), [
    ['n1', 'n3'],
    ['n1', 'n3'],
  ])
  await redis.hdel(keys.members(ROOM), 'alice')
  await isIn('carol')
  t.same(await nodes(delivery()), [['n3']], 'after somebody has left it is asked again')
})

t.test('whom a room lets go is told so, also when the next batch has learned meanwhile that he is gone', async (t) => {
  const { isIn, nodes, redis, keys } = await setUp(t)
  await isIn('alice', 'carol')
  t.same(await nodes(delivery()), [['n1', 'n3']])
  await redis.hdel(keys.members(ROOM), 'carol')
  const others = Array.from({ length: 5 }, (_, i) => delivery(undefined, 1, `room:abcdefgh1234567${i}`))
  const [first, second] = await Promise.all([
    // It has to ask for other rooms when the next one is done already.
    nodes(delivery({ change: 'left', left: ['carol'] }), ...others, delivery()),
    nodes(delivery()),
  ])
  t.same(first[0], ['n1', 'n3'])
  t.same(second[0], ['n1'])
})

t.test('under a new ownership it is asked again', async (t) => {
  const { isIn, nodes } = await setUp(t)
  await isIn('alice')
  t.same(await nodes(delivery()), [['n1']])
  await isIn('bob')
  t.same(await nodes(delivery()), [['n1']])
  t.same(await nodes(delivery(undefined, 2)), [['n1', 'n2']])
})

t.test('the entries of a large room, and of one that Redis does not know, go to all', async (t) => {
  const { isIn, nodes, asked } = await setUp(t)
  t.same(await nodes(delivery()), [NODES])
  await isIn(...Array.from({ length: 200 }, (_, i) => `u${i}`))
  t.same(await nodes(delivery(undefined, 2)), [[]], 'a small one with nobody here')
  t.same(await nodes(delivery({ joined: ['carol'] }, 2)), [NODES], 'it has become large')
  asked.disconnect()
  t.same(await nodes(delivery(undefined, 3)), [NODES], 'nobody can be asked')
})

t.test(
  'whom nobody can tell of after a change of owners is looked for on all nodes, whatever was known before',
  async (t) => {
    const { isIn, nodes, asked } = await setUp(t)
    await isIn('alice')
    t.same(await nodes(delivery()), [['n1']])
    asked.disconnect()
    t.same(await nodes(delivery(undefined, 2)), [NODES])
    t.same(await nodes(delivery(undefined, 1)), [NODES], 'nor is it known again under the fence of before')
  },
)
