/** Rooms as callers see them: lists, searches, what is refused, roles and muting. */
import { AppError } from '@tidings/protocol'
import t from 'tap'
import { readHistory } from '../src/history.js'
import * as members from '../src/rooms/members.js'
import * as rooms from '../src/rooms/rooms.js'
import { createTurns } from '../src/rooms/turns.js'
import { permit, world } from './world.js'

const { deps, store, mysql, people, sayIn } = await world(t)
await people('alice', 'bob', 'carol', 'dave')
const make = (over: Partial<Parameters<typeof rooms.createRoom>[1]> = {}) =>
  rooms.createRoom(deps, {
    ...{ user: 'alice', name: 'The room', kind: 'permanent', visibility: 'public', history: '', members: [], ttlS: 0 },
    ...over,
  })
const setMember = (user: string, room: string, member: string, wanted: { role?: string; mutedUntil?: number }) =>
  members.setMember(deps, { user, room, member, role: '', ...wanted })
const rolesOf = async (room: string, user = 'alice') =>
  (await members.listMembers(deps, { user, room, cursor: '', limit: 0 })).members.map(
    (one) => `${one.user} ${one.role}`,
  )

t.test('what cannot be a room is refused, and nothing is made', async (t) => {
  const wrong: Parameters<typeof make>[0][] = [
    { name: '' },
    { name: '   ' },
    { name: 'x'.repeat(101) },
    { name: 'a\u0000b' },
    { name: 'a\u202eb' },
    { kind: 'other' },
    { kind: '' },
    { visibility: 'secret' },
    { history: 'some' },
    { ttlS: 60 },
    { kind: 'temporary', ttlS: 59 },
    { kind: 'temporary', ttlS: 365 * 86_400 + 1 },
    { kind: 'temporary', ttlS: 61.5 },
    { members: ['not a user'] },
    { members: Array.from({ length: 201 }, (_, i) => `u${i}`) },
  ]
  for (const over of wrong) await t.rejects(make(over), { code: 'invalid_request' }, JSON.stringify(over).slice(0, 60))
  await t.rejects(make({ members: ['nobody'] }), { code: 'user_not_found' })
  await t.rejects(make({ user: 'nobody' }), { code: 'user_not_found' })
  await store.use((db) => db.run("UPDATE users SET disabled_at = NOW() WHERE id = 'dave'"))
  await t.rejects(make({ members: ['dave'] }), { code: 'user_not_found' })
  const { id } = await make()
  await t.rejects(members.addMembers(deps, { user: 'alice', room: id, members: ['dave'] }), { code: 'user_not_found' })
  await t.rejects(members.joinRoom(deps, { user: 'dave', room: id }), { code: 'user_disabled' })
  await store.use((db) => db.run("UPDATE users SET disabled_at = NULL WHERE id = 'dave'"))
  const count = await store.use((db) => db.select<{ n: string }>('SELECT COUNT(*) AS n FROM rooms'))
  t.equal(Number(count[0]?.n), 1)
})

t.test('200 people at once, with the longest names, fit into one entry', async (t) => {
  const crowd = Array.from({ length: 200 }, (_, i) => `${i}`.padStart(64, 'x'))
  await people(...crowd)
  const { id, members: count } = await make({ name: '\u{1f600}'.repeat(100), members: crowd })
  t.equal(count, 201)
  const page = { before: 0, after: 0, fromStart: false, limit: 0 }
  const { entries } = await readHistory(deps, { user: crowd[0]!, conversation: `room:${id}`, ...page })
  t.ok(Buffer.byteLength(entries[0]!.content) <= 16 * 1024, `${Buffer.byteLength(entries[0]!.content)} bytes`)
  const seen: string[] = []
  for (let cursor = '', pages = 0; pages === 0 || cursor !== ''; pages++) {
    const one = await members.listMembers(deps, { user: 'alice', room: id, cursor, limit: 70 })
    seen.push(...one.members.map(({ user }) => user))
    cursor = one.nextCursor
    t.ok(pages < 4)
  }
  t.same(seen, ['alice', ...crowd].sort())
  await t.rejects(members.listMembers(deps, { user: 'alice', room: id, cursor: '', limit: 501 }), {
    code: 'invalid_request',
  })
  await t.rejects(members.listMembers(deps, { user: 'bob', room: id, cursor: '', limit: 0 }), { code: 'forbidden' })
})

t.test('rooms are found by a part of their name in any case; private ones by those who are in them', async (t) => {
  const names = ['Grüße 100%', 'grüsse_100', 'GRÜßE two', 'other \\ room', 'Grüße drei']
  const found = new Map<string, string>()
  for (const name of names) {
    const { id } = await make({ name, visibility: name === 'GRÜßE two' ? 'private' : 'public' })
    found.set(id, name)
  }
  const search = async (user: string, query: string) => {
    const seen: string[] = []
    for (let cursor = '', pages = 0; pages === 0 || cursor !== ''; pages++) {
      const page = await rooms.searchRooms(deps, { user, query, cursor, limit: 1 })
      t.ok(page.rooms.length <= 1)
      seen.push(...page.rooms.map((one) => `${one.name}${one.role && ` (${one.role})`}`))
      cursor = page.nextCursor
    }
    return seen.sort()
  }
  t.same(await search('alice', 'grüße'), ['GRÜßE two (owner)', 'Grüße 100% (owner)', 'Grüße drei (owner)'])
  t.same(await search('bob', 'GRÜßE'), ['Grüße 100%', 'Grüße drei'])
  t.same(await search('bob', '100%'), ['Grüße 100%'])
  t.same(await search('bob', '_100'), ['grüsse_100'])
  t.same(await search('bob', '\\'), ['other \\ room'])
  t.same(await search('bob', 'nothing like it'), [])
  const gone = [...found].find(([, name]) => name === 'Grüße drei')![0]
  await rooms.deleteRoom(deps, { user: 'alice', room: gone })
  t.same(await search('bob', 'drei'), [])
  for (const bad of ['x', '%'.repeat(16), `${gone}x`]) {
    const request = { user: 'bob', query: '', cursor: bad, limit: 0 }
    await t.rejects(rooms.searchRooms(deps, request), { code: 'invalid_request' })
  }
  const request = { user: 'bob', query: 'x'.repeat(101), cursor: '', limit: 0 }
  await t.rejects(rooms.searchRooms(deps, request), { code: 'invalid_request' })
})

t.test('searches by a name stand in a line before MySQL, and lists without one do not', async (t) => {
  const roomSearches = rooms.createRoomSearches()
  const ask = (user: string, query: string) =>
    rooms.searchRooms({ ...deps, roomSearches }, { user, query, cursor: '', limit: 1 })
  let end = (): void => undefined
  const held = new Promise<void>((resolve) => (end = resolve))
  const running = ['u1', 'u2'].map((user) => roomSearches.run(user, () => held))
  const waiting = ['alice', 'alice', ...Array.from({ length: 18 }, (_, i) => `w${i}`)].map((user) => ask(user, 'room'))
  await t.rejects(ask('bob', 'room'), { code: 'overloaded', retryAfter: 2 }, 'the line is full')
  t.equal((await ask('bob', '')).rooms.length, 1)
  end()
  await Promise.all(running)
  for (const page of await Promise.all(waiting)) t.equal(page.rooms.length, 1)
  const own = Promise.all([ask('alice', 'room'), ask('alice', 'room')])
  await t.rejects(ask('alice', 'room'), { code: 'overloaded' }, 'one user has two in it')
  t.equal((await ask('bob', 'room')).rooms.length, 1)
  await own
})

t.test('who is muted may read and not write, until the time or until it is lifted', async (t) => {
  const { id } = await make({ members: ['bob'] })
  const conversation = `room:${id}`
  const until = Date.now() + 60_000
  t.match(await setMember('alice', id, 'bob', { mutedUntil: until }), {
    user: 'bob',
    mutedUntil: until,
    role: 'member',
  })
  await t.rejects(sayIn(id, 'bob', 'no'), { code: 'muted' })
  const page = { before: 0, after: 0, fromStart: false, limit: 0 }
  t.equal((await readHistory(deps, { user: 'bob', conversation, ...page })).entries.length, 2)
  await setMember('alice', id, 'bob', { mutedUntil: 0 })
  t.match(await permit(deps, { user: 'bob', conversation }), { ttlMs: 600_000 })
  await sayIn(id, 'bob', 'yes')
  t.match(await setMember('alice', id, 'carol', { mutedUntil: until }), { user: 'carol', mutedUntil: until })
  await t.rejects(sayIn(id, 'carol', 'no'), { code: 'muted' })
  await t.rejects(setMember('alice', id, 'bob', { mutedUntil: -1 }), { code: 'invalid_request' })
  await t.rejects(setMember('alice', id, 'bob', { role: 'king' }), { code: 'invalid_request' })
})

t.test(
  'a mute outlives leaving, removal and a lifted ban, until its time or until an admin says otherwise',
  async (t) => {
    const { id } = await make({ members: ['bob'] })
    const until = Date.now() + 60_000
    const join = () => members.joinRoom(deps, { user: 'bob', room: id })
    const mutedNow = async () => {
      const { members: all } = await members.listMembers(deps, { user: 'alice', room: id, cursor: '', limit: 0 })
      return all.find(({ user }) => user === 'bob')?.mutedUntil
    }
    await setMember('alice', id, 'bob', { mutedUntil: until })
    await members.leaveRoom(deps, { user: 'bob', room: id })
    await join()
    await t.rejects(sayIn(id, 'bob', 'left and came back'), { code: 'muted' })
    t.equal(await mutedNow(), until)
    await members.removeMember(deps, { user: 'alice', room: id, member: 'bob' })
    await join()
    await t.rejects(sayIn(id, 'bob', 'removed and came back'), { code: 'muted' })
    await members.ban(deps, { user: 'alice', room: id, member: 'bob' })
    await members.unban(deps, { user: 'alice', room: id, member: 'bob' })
    await members.addMembers(deps, { user: 'alice', room: id, members: ['bob'] })
    await t.rejects(sayIn(id, 'bob', 'banned and added'), { code: 'muted' })
    await members.leaveRoom(deps, { user: 'bob', room: id })
    t.match(await setMember('alice', id, 'bob', {}), { mutedUntil: until }, 'added without a word about it')
    await members.leaveRoom(deps, { user: 'bob', room: id })
    t.match(await setMember('alice', id, 'bob', { mutedUntil: 0 }), { mutedUntil: 0 }, 'added as one who may write')
    await sayIn(id, 'bob', 'at last')
    await members.leaveRoom(deps, { user: 'bob', room: id })
    await join()
    await sayIn(id, 'bob', 'what was lifted stays lifted')
    await setMember('alice', id, 'bob', { mutedUntil: until })
    await members.leaveRoom(deps, { user: 'bob', room: id })
    await store.use((db) => db.run("UPDATE left_rooms SET muted_until = ? WHERE user = 'bob'", [Date.now() - 1]))
    await join()
    t.equal(await mutedNow(), 0, 'over meanwhile')
    await sayIn(id, 'bob', 'its time was over')
  },
)

t.test('a room always has an owner while somebody is in it', async (t) => {
  const { id } = await make({ members: ['bob', 'carol'] })
  await setMember('alice', id, 'carol', { role: 'admin' })
  await setMember('alice', id, 'carol', { mutedUntil: Date.now() + 60_000 })
  await members.joinRoom(deps, { user: 'dave', room: id })
  await members.leaveRoom(deps, { user: 'alice', room: id })
  t.same(await rolesOf(id, 'bob'), ['bob member', 'carol owner', 'dave member'], 'an admin before who was there longer')
  await sayIn(id, 'carol', 'not muted any more')
  await setMember('carol', id, 'dave', { role: 'owner' })
  t.same(await rolesOf(id, 'bob'), ['bob member', 'carol admin', 'dave owner'])
  for (const user of ['carol', 'dave']) await members.leaveRoom(deps, { user, room: id })
  t.same(await rolesOf(id, 'bob'), ['bob owner'])
  await members.leaveRoom(deps, { user: 'bob', room: id })
  t.match(await rooms.getRoom(deps, { user: 'dave', room: id }), { members: 0, role: '' }, 'it stays, empty')
  t.match(await members.joinRoom(deps, { user: 'dave', room: id }), { members: 1, role: 'owner' })
})

t.test('a room passes to somebody who can act, and to nobody else while there is one', async (t) => {
  const names = ['owen', 'adam', 'mary', 'nell']
  await people(...names)
  const [owen, adam, mary, nell] = names as [string, string, string, string]
  const { id } = await make({ user: owen, members: [adam, mary] })
  await members.joinRoom(deps, { user: nell, room: id })
  await setMember(owen, id, adam, { role: 'admin' })
  const mark = (user: string, sql: 'disabled_at = NOW()' | 'deleted_at = NOW()' | 'disabled_at = NULL') =>
    store.use((db) => db.run(`UPDATE users SET ${sql} WHERE id = ?`, [user]))
  await mark(adam, 'disabled_at = NOW()')
  await mark(mary, 'deleted_at = NOW()')
  for (const gone of [adam, mary])
    await t.rejects(setMember(owen, id, gone, { role: 'owner' }), { code: 'user_not_found' }, gone)
  t.same(await rolesOf(id, owen), ['adam admin', 'mary member', 'nell member', 'owen owner'])
  await members.leaveRoom(deps, { user: owen, room: id })
  t.same(
    await rolesOf(id, nell),
    ['adam admin', 'mary member', 'nell owner'],
    'a member before an admin who cannot act',
  )
  await members.leaveRoom(deps, { user: nell, room: id })
  await mark(adam, 'disabled_at = NULL')
  t.same(await rolesOf(id, adam), ['adam owner', 'mary member'], 'where nobody can, who may be enabled again')
})

t.test('a change of what later members read holds from its entry on', async (t) => {
  const { id } = await make({ history: 'all' })
  const conversation = `room:${id}`
  await sayIn(id, 'alice', 'first')
  await members.joinRoom(deps, { user: 'bob', room: id })
  const page = { before: 0, after: 0, fromStart: false, limit: 0 }
  const count = async () => (await readHistory(deps, { user: 'bob', conversation, ...page })).entries.length
  t.equal(await count(), 3)
  const update = { user: 'alice', room: id, name: '', visibility: '', history: '' }
  t.match(await rooms.updateRoom(deps, { ...update, history: 'joined' }), { history: 'joined', version: 3 })
  t.equal(await count(), 2)
  t.match(await rooms.updateRoom(deps, { ...update, visibility: 'private' }), { visibility: 'private' })
  await t.rejects(members.joinRoom(deps, { user: 'carol', room: id }), { code: 'room_not_found' })
})

t.test('too many changes of one room at once are refused, those of others are not', async (t) => {
  const turns = createTurns(2)
  let open = (): void => undefined
  const first = turns.take('a', () => new Promise<void>((resolve) => (open = resolve)))
  const second = turns.take('a', async () => 'second')
  await t.rejects(
    turns.take('a', async () => 'third'),
    { code: 'overloaded' },
  )
  t.equal(await turns.take('b', async () => 'other'), 'other')
  open()
  await first
  t.equal(await second, 'second')
  const failing = turns.take('a', () => Promise.reject(new AppError('unavailable')))
  const after = turns.take('a', async () => 'after')
  await t.rejects(failing, { code: 'unavailable' })
  t.equal(await after, 'after')
})

t.test('with MySQL away nothing of rooms is changed, and members go on', async (t) => {
  const { id } = await make({ members: ['bob'] })
  mysql.cut()
  await t.rejects(members.joinRoom(deps, { user: 'carol', room: id }), { code: 'unavailable' })
  await t.rejects(rooms.getRoom(deps, { user: 'bob', room: id }), { code: 'unavailable' })
  await sayIn(id, 'bob', 'still talking')
  mysql.heal()
  t.match(await rooms.getRoom(deps, { user: 'bob', room: id }), { version: 1 })
})

t.end()
