import type { Role } from '@tidings/protocol'
import type { MemberRow, Person, RoomRow } from '@tidings/store'
import t from 'tap'
import {
  type Known,
  type Plan,
  planAdd,
  planBan,
  planDelete,
  planJoin,
  planLeave,
  planMember,
  planRemove,
  planUpdate,
  requireMayUnban,
} from '../src/rooms/rules.js'

const now = new Date()
const room: RoomRow = {
  ...{ id: 'abcdefgh12345678', name: 'The room', kind: 'permanent', visibility: 'public', history: 'all' },
  ...{ version: 7, memberCount: 5, createdBy: 'olga', createdAt: now, endsAt: null, deletedAt: null },
  retentionDays: 0,
}
const member = (user: string, role: Role, mutedUntil = 0): MemberRow => ({
  ...{ user, role, mutedUntil, joinedSeq: 1, createdAt: now },
})
const all = [
  member('olga', 'owner'),
  member('adam', 'admin'),
  member('anna', 'admin'),
  member('mona', 'member'),
  member('mike', 'member', 9_000_000_000_000),
]
const USERS = ['olga', 'adam', 'anna', 'mona', 'mike', 'otto', 'nora', 'bert']
const person = (user: string, over: Partial<Person> = {}): Person => ({
  ...{ user, active: true, banned: user === 'bert', rooms: 3, keptMute: 0 },
  member: all.find((one) => one.user === user),
  ...over,
})
const peopleOf = (...others: Person[]) =>
  new Map(
    [...USERS.map((id) => person(id)), person('gone', { active: false }), ...others].map((one) => [one.user, one]),
  )
const known = (by: string, over: Partial<Known> = {}): Known => ({
  ...{ room, by, people: peopleOf(), successor: member('adam', 'admin') },
  ...over,
})

/** The code of what it throws, `nothing`, or what the entry is called. */
function outcome(plan: () => Plan | undefined | void): string {
  try {
    return plan()?.change ?? 'nothing'
  } catch (error) {
    return (error as { code: string }).code
  }
}

const UNTIL = 8_000_000_000_000
/** What each may do: owner, admin, member, and somebody who is not in the room while it is public. */
const MATRIX: [what: string, plan: (known: Known) => Plan | undefined | void, ...outcomes: string[]][] = [
  ['rename', (k) => planUpdate(k, { name: 'New' }), 'updated', 'updated', 'forbidden', 'forbidden'],
  ['name it as it is', (k) => planUpdate(k, { name: room.name }), 'nothing', 'nothing', 'forbidden', 'forbidden'],
  ['hide', (k) => planUpdate(k, { visibility: 'private' }), 'updated', 'forbidden', 'forbidden', 'forbidden'],
  ['hide history', (k) => planUpdate(k, { history: 'joined' }), 'updated', 'forbidden', 'forbidden', 'forbidden'],
  ['delete', planDelete, 'deleted', 'forbidden', 'forbidden', 'forbidden'],
  ['add somebody', (k) => planAdd(k, ['nora']), 'added', 'added', 'forbidden', 'forbidden'],
  ['add a member', (k) => planAdd(k, ['mona', 'mike']), 'nothing', 'nothing', 'forbidden', 'forbidden'],
  ['add a banned one', (k) => planAdd(k, ['bert']), 'banned', 'banned', 'forbidden', 'forbidden'],
  ['add nobody', (k) => planAdd(k, ['nobody']), 'user_not_found', 'user_not_found', 'forbidden', 'forbidden'],
  ['add a disabled one', (k) => planAdd(k, ['gone']), 'user_not_found', 'user_not_found', 'forbidden', 'forbidden'],
  ['add by role', (k) => planMember(k, 'nora', {}), 'added', 'added', 'forbidden', 'forbidden'],
  ['add an admin', (k) => planMember(k, 'nora', { role: 'admin' }), 'added', 'forbidden', 'forbidden', 'forbidden'],
  ['add a new owner', (k) => planMember(k, 'nora', { role: 'owner' }), 'added', 'forbidden', 'forbidden', 'forbidden'],
  ['add a muted one', (k) => planMember(k, 'nora', { mutedUntil: UNTIL }), 'added', 'added', 'forbidden', 'forbidden'],
  ['raise', (k) => planMember(k, 'mona', { role: 'admin' }), 'member_updated', 'forbidden', 'forbidden', 'forbidden'],
  ['lower', (k) => planMember(k, 'anna', { role: 'member' }), 'member_updated', 'forbidden', 'forbidden', 'forbidden'],
  ['same role', (k) => planMember(k, 'mona', { role: 'member' }), 'nothing', 'nothing', 'forbidden', 'forbidden'],
  [
    'hand over',
    (k) => planMember(k, 'mona', { role: 'owner' }),
    'member_updated',
    'forbidden',
    'forbidden',
    'forbidden',
  ],
  ['own role', (k) => planMember(k, k.by, { role: 'member' }), 'forbidden', 'forbidden', 'forbidden', 'forbidden'],
  [
    'mute',
    (k) => planMember(k, 'mona', { mutedUntil: UNTIL }),
    'member_updated',
    'member_updated',
    'forbidden',
    'forbidden',
  ],
  [
    'unmute',
    (k) => planMember(k, 'mike', { mutedUntil: 0 }),
    'member_updated',
    'member_updated',
    'forbidden',
    'forbidden',
  ],
  [
    'mute an admin',
    (k) => planMember(k, 'anna', { mutedUntil: UNTIL }),
    'member_updated',
    'forbidden',
    'forbidden',
    'forbidden',
  ],
  [
    'mute the owner',
    (k) => planMember(k, 'olga', { mutedUntil: UNTIL }),
    'forbidden',
    'forbidden',
    'forbidden',
    'forbidden',
  ],
  ['remove', (k) => planRemove(k, 'mike'), 'removed', 'removed', 'forbidden', 'forbidden'],
  ['remove an admin', (k) => planRemove(k, 'anna'), 'removed', 'forbidden', 'forbidden', 'forbidden'],
  ['remove the owner', (k) => planRemove(k, 'olga'), 'left', 'forbidden', 'forbidden', 'forbidden'],
  ['remove a stranger', (k) => planRemove(k, 'nora'), 'nothing', 'nothing', 'forbidden', 'forbidden'],
  ['remove oneself', (k) => planRemove(k, k.by), 'left', 'left', 'left', 'nothing'],
  ['leave', planLeave, 'left', 'left', 'left', 'nothing'],
  ['join', planJoin, 'nothing', 'nothing', 'nothing', 'joined'],
  ['ban', (k) => planBan(k, 'mike'), 'banned', 'banned', 'forbidden', 'forbidden'],
  ['ban an admin', (k) => planBan(k, 'anna'), 'banned', 'forbidden', 'forbidden', 'forbidden'],
  ['ban a stranger', (k) => planBan(k, 'nora'), 'banned', 'banned', 'forbidden', 'forbidden'],
  ['ban once more', (k) => planBan(k, 'bert'), 'nothing', 'nothing', 'forbidden', 'forbidden'],
  ['ban nobody', (k) => planBan(k, 'nobody'), 'user_not_found', 'user_not_found', 'forbidden', 'forbidden'],
  ['ban oneself', (k) => planBan(k, k.by), 'invalid_request', 'invalid_request', 'forbidden', 'forbidden'],
  ['lift a ban', requireMayUnban, 'nothing', 'nothing', 'forbidden', 'forbidden'],
]

t.test('who may do what', async (t) => {
  const actors = ['olga', 'adam', 'mona', 'otto']
  for (const [what, plan, ...outcomes] of MATRIX) {
    t.same(
      actors.map((by) => outcome(() => plan(known(by)))),
      outcomes,
      what,
    )
  }
})

t.test('a private room does not show itself to somebody who is not in it, whatever is asked', async (t) => {
  const hidden = { ...room, visibility: 'private' }
  for (const [what, plan] of MATRIX) {
    t.equal(
      outcome(() => plan(known('otto', { room: hidden }))),
      'room_not_found',
      what,
    )
  }
})

t.test('an owner who goes is followed; nobody who owns a room is muted', async (t) => {
  t.match(planLeave(known('olga')), { remove: ['olga'], set: [{ user: 'adam', role: 'owner' }] })
  t.same(planLeave(known('olga', { successor: member('mike', 'member', UNTIL) }))?.set, [
    { user: 'mike', role: 'owner', mutedUntil: 0 },
  ])
  t.same(planMember(known('olga'), 'mike', { role: 'owner' })?.set, [
    { user: 'mike', role: 'owner', mutedUntil: 0 },
    { user: 'olga', role: 'admin' },
  ])
  t.match(planMember(known('olga'), 'nora', { role: 'owner' }), {
    add: [{ user: 'nora', role: 'owner' }],
    set: [{ user: 'olga', role: 'admin' }],
  })
})

t.test('nobody hands a room over to an account that cannot act', async (t) => {
  const people = peopleOf(person('mona', { active: false }))
  t.equal(
    outcome(() => planMember(known('olga', { people }), 'mona', { role: 'owner' })),
    'user_not_found',
  )
  t.equal(
    outcome(() => planMember(known('olga', { people }), 'mona', { mutedUntil: UNTIL })),
    'member_updated',
    'all else may be done to it',
  )
})

t.test('who was muted and comes back is muted still, unless an admin says otherwise or it is the owner', async (t) => {
  const back = { people: peopleOf(person('nora', { keptMute: UNTIL })) }
  t.same(planJoin(known('nora', back))?.add, [{ user: 'nora', role: 'member', mutedUntil: UNTIL }])
  t.same(planAdd(known('adam', back), ['nora', 'otto'])?.add, [
    { user: 'nora', role: 'member', mutedUntil: UNTIL },
    { user: 'otto', role: 'member', mutedUntil: 0 },
  ])
  const added = (wanted: { role?: Role; mutedUntil?: number }) =>
    planMember(known('olga', back), 'nora', wanted)?.add?.[0]
  t.match(added({}), { role: 'member', mutedUntil: UNTIL })
  t.match(added({ role: 'admin' }), { role: 'admin', mutedUntil: UNTIL })
  t.match(added({ mutedUntil: UNTIL + 1 }), { mutedUntil: UNTIL + 1 })
  t.match(added({ mutedUntil: 0 }), { mutedUntil: 0 })
  t.match(added({ role: 'owner' }), { role: 'owner', mutedUntil: 0 })
  const empty = { ...back, room: { ...room, memberCount: 0 } }
  t.match(planJoin(known('nora', empty))?.add, [{ role: 'owner', mutedUntil: 0 }])
})

t.test('the last one out ends a temporary room, and leaves a permanent one that the next one owns', async (t) => {
  const left = (kind: string) =>
    planLeave({ ...known('olga', { successor: undefined }), room: { ...room, kind, memberCount: 1 } })
  t.match(left('temporary'), { change: 'deleted', ended: true, remove: ['olga'] })
  t.match(left('permanent'), { change: 'left', ended: undefined, set: undefined })
  t.match(planJoin(known('nora', { room: { ...room, memberCount: 0 } })), { add: [{ role: 'owner' }] })
  t.match(planJoin(known('nora')), { add: [{ role: 'member' }] })
})

t.test('rooms, and the number of rooms of a user, are bounded', async (t) => {
  const full = { room: { ...room, memberCount: 99_999 } }
  t.equal(
    outcome(() => planAdd(known('olga', full), ['nora'])),
    'added',
  )
  t.equal(
    outcome(() => planAdd(known('olga', full), ['nora', 'otto'])),
    'room_full',
  )
  t.equal(
    outcome(() => planJoin(known('nora', { room: { ...room, memberCount: 100_000 } }))),
    'room_full',
  )
  const busy = { people: peopleOf(person('nora', { rooms: 1_000 })) }
  t.equal(
    outcome(() => planJoin(known('nora', busy))),
    'invalid_request',
  )
  t.equal(
    outcome(() => planAdd(known('olga', busy), ['nora'])),
    'invalid_request',
  )
})

t.end()
