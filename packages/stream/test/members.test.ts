import t from 'tap'
import {
  type AppendItem,
  createAppender,
  createLogReader,
  installMembers,
  type MemberChange,
  type RoomMembers,
  readMembers,
  readMemberships,
} from '../src/index.js'
import { bench, generationsOf } from './stores.js'

const ROOM = 'room:abcdefgh12345678'
let ids = 0
const item = (from: string, members: AppendItem['members'], clientId = ''): AppendItem => ({
  id: String(1_000_000 + ++ids),
  conversation: ROOM,
  from,
  type: members === 'check' ? 'text' : 'system',
  content: '{"text":"hello"}',
  clientId,
  sentAt: Date.now(),
  trace: '',
  members,
})
const change = (version: number, parts: Partial<MemberChange>): MemberChange => ({
  ...{ version, history: 'joined', joined: [], muted: [], left: [] },
  ...parts,
})
const joining = (...users: string[]) => users.map((user) => ({ user, mutedUntil: 0 }))

async function room(
  t: Parameters<typeof bench>[0],
  members: RoomMembers = { version: 0, history: 'joined', members: [] },
) {
  const b = await bench(t, 1)
  const rooms = new Map([[ROOM, members]])
  const generations = generationsOf(b.redis, b.keys, new Map(), rooms)
  const appender = createAppender({ redis: b.redis, keys: b.keys, replicas: 0, generations, metrics: b.metrics })
  const standing = async (user: string) => (await readMemberships(b.redis, b.keys, user, [ROOM]))[0]
  return { ...b, rooms, appender, standing }
}

t.test(
  'who may write is decided at the very seq: from the entry that lets one in to the one that shuts one out',
  async (t) => {
    const { appender, standing, redis, keys } = await room(t)
    await t.rejects(appender.append(item('bob', 'check')), { code: 'conversation_not_found' })
    await appender.append(item('alice', change(1, { joined: joining('alice', 'bob') })))
    t.match(await standing('bob'), { joined: 1, floor: 0, mutedUntil: 0 })
    // All in one call: the script looks at each item after those before it.
    const outcomes = await Promise.allSettled([
      appender.append(item('bob', 'check')),
      appender.append(item('alice', change(2, { left: ['bob'] }))),
      appender.append(item('bob', 'check')),
      appender.append(item('alice', 'check')),
      appender.append(item('alice', change(3, { joined: joining('bob') }))),
      appender.append(item('bob', 'check')),
    ])
    t.same(
      outcomes.map((one) => (one.status === 'fulfilled' ? one.value.seq : (one.reason as { code: string }).code)),
      [2, 3, 'conversation_not_found', 4, 5, 6],
    )
    t.match(await standing('bob'), { joined: 5, floor: 4 })
    t.equal(await standing('carol'), 'none')
    const log = await createLogReader(redis, keys).after(ROOM, 0, 10)
    t.same(
      log.map(({ n }) => n),
      [0, 1, 1, 2, 2, 3],
      'changes of members are no messages',
    )
    t.equal(
      await redis.hget(keys.read(ROOM), 'bob'),
      '6:3',
      'what was there before one came is read, and so is what one wrote',
    )
  },
)

t.test('muted until a time; a change of the muting keeps the joining', async (t) => {
  const { appender, standing } = await room(t)
  await appender.append(item('alice', change(1, { joined: joining('alice', 'bob') })))
  const until = Date.now() + 60_000
  await appender.append(item('alice', change(2, { muted: [{ user: 'bob', mutedUntil: until }] })))
  await t.rejects(appender.append(item('bob', 'check')), { code: 'muted', details: { mutedUntil: until } })
  t.match(await standing('bob'), { joined: 1, mutedUntil: until })
  await appender.append(item('alice', change(3, { muted: [{ user: 'bob', mutedUntil: Date.now() - 1 }] })))
  t.match(await appender.append(item('bob', 'check')), { seq: 4 })
})

t.test('a repetition gets the first answer, also from one who was shut out since; a change is made once', async (t) => {
  const { appender, standing } = await room(t)
  await appender.append(item('alice', change(1, { joined: joining('alice', 'bob') }), 'room.1'))
  const first = item('bob', 'check', 'c-1')
  t.match(await appender.append(first), { seq: 2, duplicate: false })
  await appender.append(item('alice', change(2, { left: ['bob'] }), 'room.2'))
  t.match(await appender.append(first), { seq: 2, duplicate: true })
  t.match(await appender.append(item('alice', change(1, { joined: joining('alice', 'bob') }), 'room.1')), {
    duplicate: true,
  })
  t.equal(await standing('bob'), 'none', 'the repetition lets nobody in')
})

t.test('what Redis has lost is put back from what is kept, and an ended room is none', async (t) => {
  const kept: RoomMembers = {
    version: 7,
    history: 'all',
    members: [
      { user: 'alice', joined: 3, mutedUntil: 0 },
      { user: 'bob', joined: 0, mutedUntil: 0 },
    ],
  }
  const { appender, standing, redis, keys, rooms } = await room(t, kept)
  t.equal(await standing('alice'), 'unknown')
  t.equal(await readMembers(redis, keys, ROOM, 10), undefined)
  t.match(await appender.append(item('alice', 'check')), { seq: 1 })
  t.match(await standing('alice'), { joined: 3, floor: 0 })
  t.equal(await standing('bob'), 'none', 'not before the entry that lets him in')
  await t.rejects(appender.append(item('bob', 'check')), { code: 'conversation_not_found' })
  t.same((await readMembers(redis, keys, ROOM, 10))?.sort(), ['alice', 'bob'])
  t.equal(await readMembers(redis, keys, ROOM, 1), undefined, 'more than were asked for')
  t.same((await redis.keys(`${keys.members(ROOM)}:*`)).length, 0, 'nothing half-made is left')
  // Of an older generation: it may lack the newest change.
  await redis.hset(keys.members(ROOM), '*', '0 7 all')
  t.equal(await standing('alice'), 'unknown')
  t.match(await appender.append(item('alice', 'check')), { seq: 2 })
  await appender.append(item('alice', change(8, { ended: true })))
  rooms.delete(ROOM)
  t.equal(await standing('alice'), 'unknown')
  await t.rejects(appender.append(item('alice', 'check')), { code: 'conversation_not_found' })
})

t.test('a slow restorer does not overwrite what an append has changed', async (t) => {
  const { appender, standing, redis, keys } = await room(t)
  await appender.append(item('alice', change(1, { joined: joining('alice', 'bob') })))
  await redis.del(keys.members(ROOM))
  const stale = { version: 1, history: 'joined' as const, members: [{ user: 'bob', joined: 1, mutedUntil: 0 }] }
  await installMembers(redis, keys, ROOM, async () => {
    await installMembers(redis, keys, ROOM, async () => stale)
    await appender.append(item('alice', change(2, { left: ['bob'] })))
    return stale
  })
  t.equal(await standing('bob'), 'none')
})

t.test('a server that is in no room speaks in those that there are, and changes nobody’s place in them', async (t) => {
  const { appender, standing, rooms, redis, keys } = await room(t)
  await appender.append(item('alice', change(1, { joined: joining('alice', 'bob') })))
  t.match(await appender.append(item('service:shop', 'known')), { seq: 2 })
  t.match(await standing('bob'), { joined: 1 })
  t.equal(await redis.get(keys.skip(ROOM)), '1', 'it counts as a message')
  rooms.delete(ROOM)
  await redis.del(keys.members(ROOM))
  await t.rejects(appender.append(item('service:shop', 'known')), { code: 'conversation_not_found' })
  t.equal(await redis.get(keys.seq(ROOM)), '2')
})
