/** From the commit of a change to its entry in the log, through whatever happens in between. */
import { AppError, type RoomEvent, roomEventClientId, roomEventOf } from '@tidings/protocol'
import { deleteUser, findMember, generationLedger, setUserDisabled } from '@tidings/store'
import { formatGeneration, readGeneration, readMemberships } from '@tidings/stream'
import t, { type Test } from 'tap'
import { readHistory } from '../src/history.js'
import * as members from '../src/rooms/members.js'
import * as rooms from '../src/rooms/rooms.js'
import { startRoomSweeper } from '../src/rooms/sweeper.js'
import { openDevice, permit, until, world } from './world.js'

const { deps, another, redis, keys, store, people, sayIn, persist, forgetRedis, notices } = await world(t)
const crowd = Array.from({ length: 24 }, (_, i) => `user${i}`)
await people('alice', 'bob', 'carol', 'n5000', ...crowd)

const make = async (over: Partial<Parameters<typeof rooms.createRoom>[1]> = {}) => {
  const request = { user: 'alice', name: 'R', kind: 'permanent', visibility: 'public', history: 'joined' }
  const { id } = await rooms.createRoom(deps, { ...request, members: [], ttlS: 0, ...over })
  return { id, conversation: `room:${id}` }
}
const logOf = (conversation: string) => deps.reader.after(conversation, 0, 1_000)
const eventsOf = async (conversation: string): Promise<(RoomEvent & { seq: number })[]> =>
  (await logOf(conversation)).flatMap((entry) => {
    const event = roomEventOf(entry)
    return event ? [{ ...event, seq: entry.seq }] : []
  })
const joinedSeq = async (room: string, user: string) => (await findMember(store, room, user))?.joinedSeq
const standing = async (conversation: string, user: string) =>
  (await readMemberships(redis, keys, user, [conversation]))[0]
const waiting = (conversation: string) =>
  store.use((db) => db.select<{ id: number }>('SELECT id FROM outbox WHERE conversation = ?', [conversation]))
const sweeping = (t: Test, from = deps) => {
  const sweeper = startRoomSweeper({ ...from, log: deps.log }, 50)
  t.teardown(() => sweeper.stop())
  return sweeper
}
const dead = { append: () => Promise.reject(new AppError('outcome_unknown')) }

/** The partition's Redis comes back without these changes, the last ones of a conversation, and another process opens it. */
async function forgetEnd(conversation: string, events: readonly { seq: number; version: number }[]): Promise<void> {
  const partition = keys.partitionOf(conversation)
  const { generation, server } = await readGeneration(redis, keys, partition)
  const ledger = generationLedger(store, partition)
  const number = generation!.number + 1
  await ledger.write(await ledger.read(), { number, closed: '' })
  await redis.set(keys.seq(conversation), events[0]!.seq - 1)
  for (const { seq, version } of events) {
    await redis.xdel(keys.log(conversation), `${seq}-0`)
    await redis.del(keys.once(conversation, '', roomEventClientId(version)))
  }
  await redis.del(keys.leapt(partition))
  await redis.set(keys.generation(partition), formatGeneration({ number, server }))
}

t.test('changes by two processes at once are told in the order of their versions, each once', async (t) => {
  const { id, conversation } = await make()
  const other = another()
  await Promise.all(
    crowd.map(async (user, i) => {
      const [first, second] = i % 2 === 0 ? [deps, other] : [other, deps]
      await members.joinRoom(first, { user, room: id })
      if (i % 3 === 0) await members.leaveRoom(second, { user, room: id })
      if (i % 6 === 0) await members.joinRoom(first, { user, room: id })
    }),
  )
  const events = await eventsOf(conversation)
  t.same(
    events.map(({ version }) => version),
    events.map((_, i) => i + 1),
  )
  t.equal(events.length, 1 + 24 + 8 + 4)
  for (const user of crowd) {
    const last = events.findLast(({ joined, left }) => joined?.includes(user) || left?.includes(user))!
    const seq = last.joined ? last.seq : undefined
    t.equal(await joinedSeq(id, user), seq, user)
    t.match(await standing(conversation, user), seq ? { joined: seq, floor: seq - 1 } : /none/)
    t.equal(await redis.sismember(keys.conversations(user), conversation), seq ? 1 : 0)
  }
  t.match(await rooms.getRoom(deps, { user: 'alice', room: id }), { members: 21, version: 37 })
})

t.test('a change whose process died before it was told is told by another one', async (t) => {
  const { id, conversation } = await make()
  await sayIn(id, 'alice', '1')
  const join = (by = deps) => members.joinRoom(by, { user: 'bob', room: id })
  await t.rejects(join(another({ appender: dead })), { code: 'outcome_unknown' })
  t.equal(await joinedSeq(id, 'bob'), 0)
  await t.rejects(
    permit(deps, { user: 'bob', conversation }),
    { code: 'conversation_not_found' },
    'not before its entry',
  )
  sweeping(t, another())
  await until(async () => (await standing(conversation, 'bob')) !== 'none')
  await until(async () => (await joinedSeq(id, 'bob')) === 3)
  t.match(await standing(conversation, 'bob'), { joined: 3, floor: 2 })
  await until(() => notices.some((one) => one.room === id && one.joined.includes('bob')))
  t.match(await join(), { version: 2, members: 2 }, 'repeating it changes nothing')
  t.equal((await eventsOf(conversation)).length, 2)
  await persist(conversation)
  await until(async () => (await waiting(conversation)).length === 0)
})

t.test('a repetition of what was committed and not told tells it', async (t) => {
  const { id, conversation } = await make()
  const join = (by = deps) => members.joinRoom(by, { user: 'bob', room: id })
  await t.rejects(join(another({ appender: dead })), { code: 'outcome_unknown' })
  await members.joinRoom(deps, { user: 'carol', room: id })
  t.same(
    (await eventsOf(conversation)).map(({ joined }) => joined),
    [['alice'], ['bob'], ['carol']],
    'the older first',
  )
  await join()
  const { id: hidden, conversation: conversationOfHidden } = await make({ visibility: 'private', members: ['bob'] })
  const leave = (by = deps) => members.leaveRoom(by, { user: 'bob', room: hidden })
  await t.rejects(leave(another({ appender: dead })), { code: 'outcome_unknown' })
  await leave()
  t.match(await eventsOf(conversationOfHidden), [{ change: 'created' }, { change: 'left' }])
  const end = (by = deps) => rooms.deleteRoom(by, { user: 'alice', room: hidden })
  await t.rejects(end(another({ appender: dead })), { code: 'outcome_unknown' })
  await end()
  t.equal((await eventsOf(conversationOfHidden)).at(-1)?.change, 'deleted')
})

t.test('a process that died after the append and before it was written down', async (t) => {
  const { id, conversation } = await make()
  const dying = another({
    appender: {
      async append(item) {
        const appender = deps.outbox
        await appender.drain(conversation)
        throw new AppError('outcome_unknown', item.clientId)
      },
    },
  })
  // Told by the other one: to this one it is a duplicate of nobody knows what.
  await t.rejects(members.joinRoom(dying, { user: 'bob', room: id }), { code: 'outcome_unknown' })
  await store.use((db) =>
    db.run('UPDATE outbox SET seq = NULL, appended_at = NULL WHERE conversation = ?', [conversation]),
  )
  await store.use((db) =>
    db.run('UPDATE conversation_members SET joined_seq = 0 WHERE conversation = ?', [conversation]),
  )
  // Meanwhile who is in the room is put back, from a MySQL that does not know the seq.
  await redis.del(keys.members(conversation))
  t.equal(await standing(conversation, 'bob'), 'unknown')
  await deps.generations.restoreMembers(conversation)
  t.equal(await standing(conversation, 'bob'), 'none')
  await another().outbox.drain(conversation)
  t.match(await permit(deps, { user: 'bob', conversation }), { ttlMs: 600_000 })
  t.match(await standing(conversation, 'bob'), { joined: 2 })
  t.equal((await logOf(conversation)).length, 2, 'no entry twice')
})

t.test('somebody who left and is back is in from the second joining on, whatever is written down late', async (t) => {
  const { id, conversation } = await make()
  const lame = another({ appender: dead })
  await t.rejects(members.joinRoom(lame, { user: 'bob', room: id }), { code: 'outcome_unknown' })
  await t.rejects(members.leaveRoom(lame, { user: 'bob', room: id }), { code: 'outcome_unknown' })
  await t.rejects(members.joinRoom(lame, { user: 'bob', room: id }), { code: 'outcome_unknown' })
  await Promise.all([deps, another(), another()].map(({ outbox }) => outbox.drain(conversation)))
  t.same(
    (await eventsOf(conversation)).map(({ change }) => change),
    ['created', 'joined', 'left', 'joined'],
  )
  t.equal(await joinedSeq(id, 'bob'), 4)
  t.match(await standing(conversation, 'bob'), { joined: 4, floor: 3 })
})

t.test('one who is back is listed, however late the one before takes the name off', async (t) => {
  const { id, conversation } = await make({ members: ['bob'] })
  const lame = another({ appender: dead })
  await t.rejects(members.leaveRoom(lame, { user: 'bob', room: id }), { code: 'outcome_unknown' })
  let reached = (): void => undefined
  let open = (): void => undefined
  const waits = new Promise<void>((resolve) => {
    reached = resolve
  })
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const late = new Proxy(redis, {
    get(target, name) {
      const found = Reflect.get(target, name)
      if (name !== 'srem') return typeof found === 'function' ? found.bind(target) : found
      return async (...given: [string, string]) => {
        reached()
        await gate
        return target.srem(...given)
      }
    },
  })
  const telling = another({ redis: late }).outbox.drain(conversation)
  await waits
  await members.joinRoom(deps, { user: 'bob', room: id })
  open()
  await telling
  t.equal(await redis.sismember(keys.conversations('bob'), conversation), 1)
})

t.test('nobody keeps the entry of a change away by sending with its clientId before', async (t) => {
  const { id, conversation } = await make({ members: ['bob'] })
  await sayIn(id, 'bob', 'mine', roomEventClientId(2))
  await members.leaveRoom(deps, { user: 'bob', room: id })
  t.equal((await eventsOf(conversation)).at(-1)?.change, 'left')
})

t.test('changes that Redis forgot before they were stored come again in their order, before newer ones', async (t) => {
  const { id, conversation } = await make()
  await persist(conversation)
  await members.joinRoom(deps, { user: 'bob', room: id })
  await members.joinRoom(deps, { user: 'carol', room: id })
  const before = await eventsOf(conversation)
  const lost = before.slice(1)
  await forgetEnd(conversation, lost)
  await members.leaveRoom(deps, { user: 'carol', room: id })
  const events = await eventsOf(conversation)
  t.same(
    events.map(({ version }) => version),
    [1, 2, 3, 4],
  )
  t.ok(events[1]!.seq > lost[1]!.seq, 'beyond what was given out')
  t.equal(await joinedSeq(id, 'bob'), lost[0]!.seq, 'who was in keeps the place')
  t.match(await standing(conversation, 'bob'), { joined: lost[0]!.seq })
  t.equal(await standing(conversation, 'carol'), 'none')
  t.match(await sayIn(id, 'bob', 'still here'), { duplicate: false })
})

t.test('and also when nothing newer comes', async (t) => {
  const { id, conversation } = await make()
  await persist(conversation)
  await members.joinRoom(deps, { user: 'bob', room: id })
  const lost = (await eventsOf(conversation)).slice(1)
  await forgetEnd(conversation, lost)
  sweeping(t)
  await until(async () => (await eventsOf(conversation)).at(-1)!.seq > lost[0]!.seq)
  await persist(conversation)
  await until(async () => (await waiting(conversation)).length === 0)
})

t.test('one that was forgotten while a later one was appended comes again', async (t) => {
  const { id, conversation } = await make()
  for (const user of ['bob', 'carol']) await members.joinRoom(deps, { user, room: id })
  const [, lost] = await eventsOf(conversation)
  await redis.xdel(keys.log(conversation), `${lost!.seq}-0`)
  await redis.del(keys.once(conversation, '', roomEventClientId(2)))
  await deps.outbox.drain(conversation)
  t.equal((await eventsOf(conversation)).length, 2, 'not seen at a glance')
  await deps.outbox.drainAll(conversation)
  t.same((await eventsOf(conversation)).map(({ version }) => version).sort(), [1, 2, 3])
  t.match(await standing(conversation, 'bob'), { joined: lost!.seq })
})

t.test('who is in rooms comes back after Redis forgot all: 5,001 people, and nobody else', async (t) => {
  const { id, conversation } = await make({ members: ['bob'] })
  await sayIn(id, 'bob', 'hello')
  const many = Array.from({ length: 5_001 }, (_, i) => [`n${i}`, conversation, 'room', i + 10, new Date()])
  await store.use((db) =>
    db.run('INSERT INTO conversation_members (user, conversation, kind, joined_seq, created_at) VALUES ?', [many]),
  )
  await persist(conversation)
  await forgetRedis()
  t.match(await permit(deps, { user: 'n5000', conversation }), { ttlMs: 600_000 })
  t.equal(await redis.hlen(keys.members(conversation)), 5_004)
  t.match(await standing(conversation, 'n4999'), { joined: 5_009, floor: 5_008 })
  await t.rejects(permit(deps, { user: 'carol', conversation }), { code: 'conversation_not_found' })
  const positions = await openDevice(deps, 'bob', 'new')
  const joined = (await joinedSeq(id, 'bob'))!
  const position = positions.find((one) => one.conversation === conversation)
  t.match(position, { joined, floor: joined - 1, cursor: joined - 1 }, 'found by the rows of MySQL')
  t.ok(position!.head > joined, 'perhaps it has leapt meanwhile')
  t.match(await sayIn(id, 'bob', 'again'), { duplicate: false })
  await t.rejects(sayIn(id, 'carol', 'no'), { code: 'conversation_not_found' })
})

t.test('a room whose time is over ends for all, once', async (t) => {
  const { id, conversation } = await make({ kind: 'temporary', ttlS: 60, members: ['bob', 'carol'] })
  await store.use((db) => db.run('UPDATE rooms SET ends_at = ? WHERE id = ?', [new Date(Date.now() - 1), id]))
  sweeping(t)
  sweeping(t, another())
  await until(async () => (await eventsOf(conversation)).at(-1)?.change === 'deleted')
  await t.rejects(rooms.getRoom(deps, { user: 'alice', room: id }), { code: 'room_not_found' })
  await t.rejects(permit(deps, { user: 'alice', conversation }), { code: 'conversation_not_found' })
  const page = { before: 0, after: 0, fromStart: false, limit: 0 }
  await t.rejects(readHistory(deps, { user: 'alice', conversation, ...page }), { code: 'conversation_not_found' })
  await t.rejects(sayIn(id, 'alice', 'hello?'), { code: 'conversation_not_found' })
  await persist(conversation)
  await until(async () => (await waiting(conversation)).length === 0)
  t.equal((await eventsOf(conversation)).filter(({ change }) => change === 'deleted').length, 1)
  t.equal(await joinedSeq(id, 'bob'), undefined, 'nobody is listed in it')
  t.equal(await redis.sismember(keys.conversations('bob'), conversation), 0)
  t.match(notices.filter(({ room }) => room === id).at(-1), { ended: true, version: 2 })
})

t.test('a room whose owner’s account is gone goes to whoever would follow, once, and is told so', async (t) => {
  await people('owner', 'oldest', 'admin', 'asleep')
  const user = 'owner'
  const made = async (...users: string[]) => {
    const room = await make({ user })
    for (const one of users) await members.joinRoom(deps, { user: one, room: room.id })
    return room
  }
  const led = await made('oldest', 'admin')
  await members.setMember(deps, { user, room: led.id, member: 'admin', role: 'admin' })
  await members.setMember(deps, { user, room: led.id, member: 'admin', role: '', mutedUntil: Date.now() + 600_000 })
  const plain = await made('asleep', 'oldest')
  const sleeping = await made('asleep')
  const empty = await made()
  await setUserDisabled(store, 'asleep', true, new Date())
  await deleteUser(store, user, 'gone', new Date())
  sweeping(t)
  sweeping(t, another())
  for (const [{ id, conversation }, next] of [
    [led, 'admin'],
    [plain, 'oldest'],
  ] as const) {
    const last = async () => (await eventsOf(conversation)).at(-1)!
    await until(async () => (await last()).members?.[0]?.role === 'owner')
    t.match(await findMember(store, id, next), { role: 'owner', mutedUntil: 0 })
    t.match(await findMember(store, id, user), { role: 'member' })
    t.match(await last(), {
      by: user,
      members: [
        { user: next, role: 'owner' },
        { user, role: 'member' },
      ],
    })
    t.match(await rooms.updateRoom(deps, { user: next, room: id, name: 'Mine', visibility: '', history: '' }), {
      name: 'Mine',
    })
  }
  for (const { id } of [sleeping, empty])
    t.match(await findMember(store, id, user), { role: 'owner' }, 'nobody may act')
  for (const { id, conversation } of [led, plain]) {
    await persist(conversation)
    await until(async () => (await waiting(conversation)).length === 0)
    const handed = (await eventsOf(conversation)).filter(({ members: set }) =>
      set?.some((one) => one.user === user && one.role === 'member'),
    )
    t.equal(handed.length, 1, id)
  }
})

t.test('the end of a room is told also when Redis forgot who was in it', async (t) => {
  const { id, conversation } = await make({ kind: 'temporary' })
  await persist(conversation)
  const lame = another({ appender: dead })
  await t.rejects(members.leaveRoom(lame, { user: 'alice', room: id }), { code: 'outcome_unknown' })
  await forgetRedis()
  await deps.outbox.drain(conversation)
  t.match((await eventsOf(conversation)).at(-1), { change: 'deleted', left: ['alice'] })
  await t.rejects(permit(deps, { user: 'alice', conversation }), { code: 'conversation_not_found' })
})

t.end()
