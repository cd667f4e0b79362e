import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import {
  changeRoom,
  conversationsOf,
  findMember,
  findRoom,
  findStored,
  forgetOutbox,
  type HeldRoom,
  insertEntries,
  insertRoom,
  insertUser,
  isStoredAt,
  markAppended,
  markJoined,
  membersAfter,
  type NewRoom,
  outboxAppended,
  outboxHas,
  outboxNewest,
  outboxOverdue,
  outboxPending,
  outboxStored,
  type PlacedRow,
  type RoomWrite,
  raiseFence,
  removeEndedMembers,
  roomsToEnd,
} from '../src/index.js'
import { freshDatabase } from './world.js'

const { store } = await freshDatabase(t)
for (const id of ['alice', 'bob', 'carol']) {
  await insertUser(store, { id, displayName: id, passwordHash: null, createdAt: new Date() })
}
const ID = 'abcdefgh12345678'
const CONVERSATION = `room:${ID}`
const row: NewRoom = {
  ...{ id: ID, name: 'R', kind: 'permanent', visibility: 'public', history: 'all', createdBy: 'alice', endsAt: null },
}
const entry = (version: number, change = 'joined') => ({
  ...{ clientId: `room.${version}`, type: 'system', content: JSON.stringify({ event: 'room', change }), change: '{}' },
})
const change = (version: number, over: Partial<RoomWrite> = {}): RoomWrite => ({
  ...{ by: 'alice', now: new Date(), entry: entry(version) },
  ...over,
})
async function mark(placed: PlacedRow[]): Promise<void> {
  await markJoined(store, placed)
  await markAppended(store, placed)
}
const member = (user: string, role: 'owner' | 'admin' | 'member' = 'member') => ({ user, role, mutedUntil: 0 })
const changed = (work: (room: HeldRoom) => Promise<unknown>) => changeRoom(store, ID, work)

t.test('a room is made with its people and its row in the outbox, or not at all', async (t) => {
  const first = change(1, { add: [member('alice', 'owner'), member('bob')] })
  const refuse = async (): Promise<void> => {
    throw new Error('refused')
  }
  await t.rejects(insertRoom(store, row, first, refuse), { message: 'refused' })
  t.equal(await findRoom(store, ID), undefined)
  t.match(await insertRoom(store, row, first, async () => undefined), { version: 1, memberCount: 2 })
  t.match(await findRoom(store, ID), { version: 1, memberCount: 2, name: 'R' })
  t.match(await findMember(store, ID, 'alice'), { role: 'owner', joinedSeq: 0 })
  t.same((await conversationsOf(store, ['bob'])).get('bob'), [], 'not before the entry that says so')
  const [pending] = await outboxPending(store, CONVERSATION, 10)
  t.match(pending, { clientId: 'room.1', from: 'alice', seq: null })
  await mark([{ row: pending!, seq: 1, joined: ['alice', 'bob'] }])
  t.same((await conversationsOf(store, ['bob'])).get('bob'), [CONVERSATION])
  t.same(await outboxPending(store, CONVERSATION, 10), [])
  t.match(await outboxNewest(store, CONVERSATION), { seq: 1 })
})

t.test('changes of one room wait for each other, and one that fails changes nothing', async (t) => {
  const order: string[] = []
  const slow = changed(async (room) => {
    order.push('slow begins')
    await delay(100)
    order.push('slow ends')
    return room.write(change(2, { add: [member('carol', 'admin')] }))
  })
  while (order.length === 0) await delay(1)
  const next = changed(async (room) => {
    order.push('next')
    t.equal(room.row.version, 2)
    t.match(await room.people(['carol', 'bob', 'nobody']), [
      { user: 'bob', active: true, banned: false, rooms: 1, member: { role: 'member', joinedSeq: 1 } },
      { user: 'carol', member: { role: 'admin', joinedSeq: 0 } },
    ])
    t.equal(await room.owner(), 'alice')
    t.match(await room.successor('alice'), { user: 'carol', role: 'admin' })
    t.match(await room.successor('carol'), { user: 'bob', role: 'member' })
  })
  await Promise.all([slow, next])
  t.same(order, ['slow begins', 'slow ends', 'next'])
  const failing = changed(async (room) => {
    await room.ban('bob', 'alice', new Date())
    await room.write(change(3, { remove: ['bob'] }))
    throw new Error('after all')
  })
  await t.rejects(failing, { message: 'after all' })
  t.match(await findRoom(store, ID), { version: 2, memberCount: 3 })
  t.equal((await outboxPending(store, CONVERSATION, 10)).length, 1)
  await changed(async (room) => t.match(await room.people(['bob']), [{ banned: false, member: { user: 'bob' } }]))
  t.equal(await changeRoom(store, 'nosuchroom123456', async () => true), undefined)
})

t.test('somebody who left and came back has no seq by the entry of the first coming', async (t) => {
  const coming = change(3)
  const [second] = await outboxPending(store, CONVERSATION, 10)
  await changed((room) => room.write({ ...coming, remove: ['carol'] }))
  await delay(2)
  await changed((room) => room.write(change(4, { add: [member('carol')] })))
  await mark([{ row: second!, seq: 2, joined: ['carol'] }])
  t.match(await findMember(store, ID, 'carol'), { joinedSeq: 0 })
  const [third, fourth] = await outboxPending(store, CONVERSATION, 10)
  await mark([
    { row: third!, seq: 3, joined: [] },
    { row: fourth!, seq: 4, joined: ['carol'] },
  ])
  t.match(await findMember(store, ID, 'carol'), { joinedSeq: 4 })
  await mark([{ row: fourth!, seq: 4, joined: ['carol'] }])
  t.same(
    (await outboxAppended(store, CONVERSATION, second!.id, 10)).map(({ seq }) => seq),
    [3, 4],
  )
})

t.test('rows of the outbox are overdue by their age, found stored by their entry, and then forgotten', async (t) => {
  const soon = { pendingSince: new Date(Date.now() + 1_000), appendedSince: new Date(0), after: 0 }
  t.equal(await outboxOverdue(store, soon), undefined, 'all are appended')
  const appended = { ...soon, appendedSince: new Date(Date.now() + 1_000) }
  const overdue = await outboxOverdue(store, appended)
  t.match(overdue, { conversations: [CONVERSATION] })
  t.equal(await outboxOverdue(store, { ...appended, after: overdue!.last }), undefined)
  t.equal(await outboxHas(store, CONVERSATION, 'alice', 'joined'), true)
  t.equal(await outboxHas(store, CONVERSATION, 'alice', 'left'), false)
  t.equal(await outboxHas(store, CONVERSATION, 'bob', 'joined'), false)
  const newest = (await outboxNewest(store, CONVERSATION))!
  t.equal(await isStoredAt(store, newest, 4), false)
  t.same(await outboxStored(store, 10), [])
  const fence = (await raiseFence(store, 'persist', 0, 1)) ?? 1
  const at = (seq: number, from: string, id: string) => ({
    ...{ partition: 0, fence },
    entry: {
      ...{ id, conversation: CONVERSATION, seq, n: 0, from, type: 'system', content: '{}' },
      ...{ clientId: `room.${seq}`, sentAt: 1, trace: '' },
    },
  })
  await insertEntries(store, [at(3, 'mallory', '1003'), at(4, 'alice', '1004')], 'persist')
  t.equal(await isStoredAt(store, newest, 4), true)
  t.equal(await findStored(store, newest, 0), 4)
  t.equal(await findStored(store, { ...newest, from: 'bob' }, 0), undefined)
  const stored = await outboxStored(store, 10)
  t.same(
    stored.map(({ id }) => id),
    [newest.id],
    'another one’s entry is not the row’s',
  )
  await forgetOutbox(store, [newest.id])
  t.match(await outboxNewest(store, CONVERSATION), { seq: 3 })
})

t.test('an entry is looked for as far down as it can be', async (t) => {
  const fence = (await raiseFence(store, 'persist', 0, 1)) ?? 1
  const rows = Array.from({ length: 450 }, (_, i) => ({
    ...{ partition: 0, fence },
    entry: {
      ...{
        id: String(2_000 + i),
        conversation: 'room:manyentries12345',
        seq: i + 1,
        n: 0,
        from: 'alice',
        type: 'system',
      },
      ...{ content: '{}', clientId: `room.${i + 1}`, sentAt: 10_000 + i, trace: '' },
    },
  }))
  await insertEntries(store, rows, 'persist')
  const find = (version: number, since: number) =>
    findStored(
      store,
      { conversation: 'room:manyentries12345', clientId: `room.${version}`, from: 'alice', type: 'system' },
      since,
    )
  t.equal(await find(3, 10_002), 3)
  t.equal(await find(450, 10_449), 450)
  t.equal(await find(451, 0), undefined)
  t.equal(await find(3, 10_400), undefined, 'what is older is not read')
})

t.test('a room that has ended is not there, and its people are taken off in pages', async (t) => {
  const now = new Date()
  await store.use((db) => db.run('UPDATE rooms SET ends_at = ? WHERE id = ?', [now, ID]))
  t.same(await roomsToEnd(store, new Date(now.getTime() - 1), 10), [])
  t.same(await roomsToEnd(store, now, 10), [ID])
  await changed((room) => room.write(change(5, { ended: true })))
  t.same(await roomsToEnd(store, now, 10), [])
  t.equal(await findRoom(store, ID), undefined)
  t.equal(await changed(async () => true), undefined)
  t.equal((await membersAfter(store, ID, '', 10)).length, 3)
  await removeEndedMembers(store, ID, ['alice', 'bob'])
  t.same(
    (await membersAfter(store, ID, '', 10)).map(({ user }) => user),
    ['carol'],
  )
})

t.end()
