/** What rooms do for their people: made, joined, read, left, ended. */
import { roomEventOf } from '@tidings/protocol'
import t from 'tap'
import { listConversations } from '../src/conversations.js'
import { ack } from '../src/cursors.js'
import { readHistory } from '../src/history.js'
import { readOffline } from '../src/offline.js'
import { read } from '../src/reads.js'
import * as members from '../src/rooms/members.js'
import * as rooms from '../src/rooms/rooms.js'
import { openDevice, permit, world } from './world.js'

const w = await world(t)
const { deps, people, sayIn, persist, notices } = w
await people('alice', 'bob', 'carol', 'dave', 'eve')

const make = (over: Partial<Parameters<typeof rooms.createRoom>[1]> = {}) =>
  rooms.createRoom(deps, {
    user: 'alice',
    name: 'The room',
    kind: 'permanent',
    visibility: 'public',
    history: '',
    members: [],
    ttlS: 0,
    ...over,
  })
const page = { before: 0, after: 0, fromStart: false, limit: 200 }
const history = (user: string, room: string, over: Partial<typeof page> = {}) =>
  readHistory(deps, { user, conversation: `room:${room}`, ...page, ...over })
const seqs = async (user: string, room: string, over: Partial<typeof page> = {}) =>
  (await history(user, room, over)).entries.map(({ seq }) => seq)
const events = async (room: string) =>
  (await history('alice', room)).entries.flatMap((entry) => roomEventOf(entry) ?? [])
const positions = async (user: string) =>
  (await openDevice(deps, user, 'phone')).map(
    ({ conversation, cursor, head, joined, floor }) => `${conversation.slice(5)} ${cursor}/${head} ${joined}>${floor}`,
  )

t.test(
  'a room is made with its first people: its first entry tells of it, and they are in it from there on',
  async (t) => {
    const room = await make({ members: ['bob', 'carol', 'alice', 'bob'], visibility: 'private' })
    t.match(room, { name: 'The room', history: 'joined', members: 3, version: 1, role: 'owner', endsAt: 0 })
    t.match(room.id, /^[A-Za-z0-9_-]{16}$/)
    t.match(await events(room.id), [
      {
        change: 'created',
        by: 'alice',
        joined: ['alice', 'bob', 'carol'],
        members: [{ user: 'alice', role: 'owner' }],
        room: { name: 'The room', visibility: 'private', history: 'joined' },
      },
    ])
    t.same(await positions('bob'), [`${room.id} 0/1 1>0`])
    t.match(await permit(deps, { user: 'bob', conversation: `room:${room.id}` }), { ttlMs: 600_000 })
    t.match(notices.at(-1), { room: room.id, version: 1, joined: ['alice', 'bob', 'carol'] })
    t.match(await rooms.getRoom(deps, { user: 'bob', room: room.id }), { members: 3, role: 'member' })
  },
)

t.test('what a later member may read begins with the joining, or with the room', async (t) => {
  for (const kind of ['all', 'joined']) {
    const { id } = await make({ history: kind })
    for (const text of ['1', '2', '3']) await sayIn(id, 'alice', text)
    await members.joinRoom(deps, { user: 'bob', room: id })
    await sayIn(id, 'bob', '4')
    const all = kind === 'all'
    t.same(await seqs('bob', id), all ? [1, 2, 3, 4, 5, 6] : [5, 6], kind)
    t.ok((await positions('bob')).includes(`${id} 4/6 5>${all ? 0 : 4}`), 'the device begins with the joining')
    t.match(
      (await listConversations(deps, { user: 'bob', cursor: '', limit: 100 })).conversations.find(
        ({ id: one }) => one === `room:${id}`,
      ),
      { kind: 'room', title: 'The room', head: 6, unread: 0, lastMessage: { seq: 6 } },
    )
    await sayIn(id, 'alice', '5')
    const offline = await readOffline(deps, { user: 'bob', device: 'phone', cursor: '', limit: 100, fromOldest: true })
    const listed = offline.entries.filter(({ conversation }) => conversation === `room:${id}`).map(({ seq }) => seq)
    t.same(listed, all ? [1, 2, 3, 4, 5, 6, 7] : [5, 6, 7])
    // The same from MySQL alone.
    await persist(`room:${id}`)
    await deps.redis.del(deps.keys.log(`room:${id}`))
    t.same(await seqs('bob', id), all ? [1, 2, 3, 4, 5, 6, 7] : [5, 6, 7])
    t.same(await seqs('bob', id, { before: 6 }), all ? [1, 2, 3, 4, 5] : [5])
    t.same(await seqs('bob', id, { before: 3 }), all ? [1, 2] : [])
    t.same(await seqs('bob', id, { after: 2, limit: 2 }), all ? [3, 4] : [5, 6])
    t.same(await seqs('bob', id, { fromStart: true, limit: 2 }), all ? [1, 2] : [5, 6])
    t.same(await seqs('bob', id, { before: 7, limit: 3 }), all ? [4, 5, 6] : [5, 6])
    for (const over of [{ before: 3 }, { before: 6 }, { after: 1 }, { fromStart: true }, {}]) {
      t.equal((await history('bob', id, over)).complete, true, JSON.stringify(over))
    }
  }
})

t.test('who has left, was removed or never was in it gets nothing and writes nothing', async (t) => {
  const { id } = await make({ visibility: 'private', members: ['bob', 'carol', 'dave'] })
  const conversation = `room:${id}`
  await sayIn(id, 'bob', 'hello')
  await members.leaveRoom(deps, { user: 'bob', room: id })
  await members.removeMember(deps, { user: 'alice', room: id, member: 'carol' })
  await members.ban(deps, { user: 'alice', room: id, member: 'dave' })
  for (const user of ['bob', 'carol', 'dave', 'eve']) {
    await t.rejects(permit(deps, { user, conversation }), { code: 'conversation_not_found' }, user)
    await t.rejects(history(user, id), { code: 'conversation_not_found' })
    await t.rejects(read(deps, { user, conversation, seq: 1 }), { code: 'conversation_not_found' })
    const acks = [{ user, device: 'phone', conversation, seq: 1 }]
    await t.rejects(ack(deps, { acks, withinHead: true }), { code: 'conversation_not_found' })
    await ack(deps, { acks })
    await t.rejects(sayIn(id, user, 'still here'), { code: 'conversation_not_found' })
    t.notOk((await positions(user)).some((one) => one.startsWith(id)))
    t.notOk(
      (await listConversations(deps, { user, cursor: '', limit: 100 })).conversations.some(
        (one) => one.id === conversation,
      ),
    )
    const asked: (() => Promise<unknown>)[] = [
      () => rooms.getRoom(deps, { user, room: id }),
      () => rooms.updateRoom(deps, { user, room: id, name: 'x', visibility: '', history: '' }),
      () => rooms.deleteRoom(deps, { user, room: id }),
      () => members.joinRoom(deps, { user, room: id }),
      () => members.listMembers(deps, { user, room: id, cursor: '', limit: 0 }),
      () => members.listBans(deps, { user, room: id, cursor: '', limit: 0 }),
      () => members.addMembers(deps, { user, room: id, members: [user] }),
      () => members.setMember(deps, { user, room: id, member: user, role: 'owner' }),
      () => members.removeMember(deps, { user, room: id, member: 'alice' }),
      () => members.ban(deps, { user, room: id, member: 'alice' }),
      () => members.unban(deps, { user, room: id, member: 'dave' }),
    ]
    for (const ask of asked) await t.rejects(ask(), { code: 'room_not_found' }, `${user} ${ask}`)
  }
  await t.rejects(members.leaveRoom(deps, { user: 'eve', room: id }), { code: 'room_not_found' })
  t.match(
    (await events(id)).map(({ change, left, by }) => [change, left, by]),
    [
      ['created', undefined, 'alice'],
      ['left', ['bob'], 'bob'],
      ['removed', ['carol'], 'alice'],
      ['banned', ['dave'], 'alice'],
    ],
  )
})

t.test('acks of many people are taken as the node tells them, those of one person are checked', async (t) => {
  const { id } = await make({ visibility: 'private', members: ['bob', 'carol'] })
  const conversation = `room:${id}`
  for (const text of ['1', '2', '3']) await sayIn(id, 'alice', text)
  const acks = (seq: number) => ['alice', 'bob', 'carol'].map((user) => ({ user, device: 'd', conversation, seq }))
  const at = async () =>
    Promise.all(acks(0).map(({ user, device }) => deps.redis.hget(deps.keys.cursor(user, device), conversation)))
  await ack(deps, { acks: acks(2) })
  t.same(await at(), ['2', '2', '2'])
  await members.removeMember(deps, { user: 'alice', room: id, member: 'carol' })
  await ack(deps, { acks: acks(3) })
  t.same(await at(), ['3', '3', '3'], 'a moment later: it was shown to her')
  await ack(deps, { acks: acks(5).slice(0, 2), withinHead: true })
  t.same(await at(), ['5', '5', '3'])
  await t.rejects(ack(deps, { acks: acks(5), withinHead: true }), { code: 'conversation_not_found' })
  await t.rejects(ack(deps, { acks: acks(6).slice(0, 2), withinHead: true }), { code: 'beyond_head' })
})

t.test('one who comes back reads from the second joining on', async (t) => {
  const { id } = await make({ history: 'joined' })
  const join = () => members.joinRoom(deps, { user: 'bob', room: id })
  await join()
  await sayIn(id, 'alice', 'while he is here')
  await members.leaveRoom(deps, { user: 'bob', room: id })
  await sayIn(id, 'alice', 'while he is away')
  await join()
  t.same(await seqs('bob', id), [6])
  t.ok((await positions('bob')).includes(`${id} 5/6 6>5`))
})

t.test('repeating a change changes nothing, and tells nobody', async (t) => {
  const { id } = await make({ members: ['carol'] })
  const twice = async (run: () => Promise<unknown>) => {
    await run()
    const { version } = await rooms.getRoom(deps, { user: 'alice', room: id })
    await run()
    const after = await rooms.getRoom(deps, { user: 'alice', room: id })
    t.equal(after.version, version, String(run))
    t.equal((await events(id)).length, version)
  }
  const until = Date.now() + 60_000
  await twice(() => members.joinRoom(deps, { user: 'bob', room: id }))
  await twice(() => members.addMembers(deps, { user: 'alice', room: id, members: ['bob', 'dave'] }))
  await twice(() => members.setMember(deps, { user: 'alice', room: id, member: 'bob', role: 'admin' }))
  await twice(() => members.setMember(deps, { user: 'bob', room: id, member: 'dave', role: '', mutedUntil: until }))
  await twice(() => members.setMember(deps, { user: 'bob', room: id, member: 'dave', role: '', mutedUntil: 5 }))
  await twice(() => rooms.updateRoom(deps, { user: 'bob', room: id, name: 'New', visibility: '', history: '' }))
  await twice(() => members.leaveRoom(deps, { user: 'dave', room: id }))
  await twice(() => members.removeMember(deps, { user: 'bob', room: id, member: 'carol' }))
  await twice(() => members.ban(deps, { user: 'bob', room: id, member: 'eve' }))
  await twice(() => members.ban(deps, { user: 'bob', room: id, member: 'carol' }))
  t.same((await members.listBans(deps, { user: 'alice', room: id, cursor: '', limit: 0 })).users, ['carol', 'eve'])
  await t.rejects(members.joinRoom(deps, { user: 'eve', room: id }), { code: 'banned' })
  await t.rejects(members.addMembers(deps, { user: 'alice', room: id, members: ['eve'] }), { code: 'banned' })
  await twice(() => members.unban(deps, { user: 'bob', room: id, member: 'eve' }))
  await members.joinRoom(deps, { user: 'eve', room: id })
  t.match(await rooms.getRoom(deps, { user: 'alice', room: id }), { members: 3, name: 'New' })
})

t.end()
