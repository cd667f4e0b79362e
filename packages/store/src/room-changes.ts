/**
 * Changes of rooms: one transaction each, which holds the room's row, so that changes of one room come one after the other; with a row in
 * the outbox that tells of it. Who may do what is decided by the caller, inside.
 */
import type { Role } from '@tidings/protocol'
import { and, asc, eq, inArray, ne } from 'drizzle-orm'
import { type Db, type Store, transaction } from './db.js'
import { type MemberRow, membersAmong, type RoomRow, roomConversation } from './rooms.js'
import { conversationMembers, outbox, roomBans, rooms, users } from './schema.js'
import type { UserRow } from './users.js'

/** What is written when a room changes, beside its next version. */
export interface RoomWrite {
  /** Who acted. */
  by: string
  now: Date
  room?: Partial<Pick<RoomRow, 'name' | 'visibility' | 'history'>>
  add?: readonly Pick<MemberRow, 'user' | 'role' | 'mutedUntil'>[]
  set?: readonly { user: string; role?: Role; mutedUntil?: number }[]
  remove?: readonly string[]
  /** Nobody is in it any more. */
  ended?: boolean
  /** The entry that tells of it, with the append's change of members. */
  entry: { clientId: string; type: string; content: string; change: string }
}

/** A room whose row is held until the transaction ends. */
export interface HeldRoom {
  readonly row: RoomRow
  /** Those of the users who are in it. */
  members(users: readonly string[]): Promise<Map<string, MemberRow>>
  /** Those of the users who are banned. */
  banned(users: readonly string[]): Promise<Set<string>>
  /** Those of the users who have an account. */
  users(ids: readonly string[]): Promise<Map<string, UserRow>>
  /** In how many rooms each of them is; those in none are left out. */
  roomsOf(users: readonly string[]): Promise<Map<string, number>>
  owner(): Promise<string | undefined>
  /** Who has been in it longest, admins first. */
  successor(leaving: string): Promise<MemberRow | undefined>
  ban(user: string, by: string, now: Date): Promise<void>
  unban(user: string): Promise<void>
  /** @returns the room after it */
  write(change: RoomWrite): Promise<RoomRow>
}

/**
 * Runs `work` while no other change of this room can run; it may run several times.
 * @returns undefined when there is no such room, or it has ended
 * @throws AppError `unavailable`: perhaps it was changed; else what `work` throws, with nothing changed
 */
export async function changeRoom<T>(
  store: Store,
  id: string,
  work: (room: HeldRoom) => Promise<T>,
): Promise<T | undefined> {
  return transaction(store, async (db) => {
    const [row] = await db.orm.select().from(rooms).where(eq(rooms.id, id)).for('update')
    return row && !row.deletedAt ? work(hold(db, row)) : undefined
  })
}

function hold(db: Db, row: RoomRow): HeldRoom {
  const { orm } = db
  const conversation = roomConversation(row.id)
  const ofRoom = eq(conversationMembers.conversation, conversation)
  const member = conversationMembers
  return {
    row,
    members: (names) => membersAmong(db, row.id, names),
    async banned(names) {
      if (names.length === 0) return new Set()
      const where = and(eq(roomBans.room, row.id), inArray(roomBans.user, [...names]))
      const rows = await orm.select({ user: roomBans.user }).from(roomBans).where(where)
      return new Set(rows.map(({ user }) => user))
    },
    users: (ids) => usersById(db, ids),
    roomsOf: (names) => countRooms(db, names),
    async owner() {
      const where = and(ofRoom, eq(member.role, 'owner'))
      const [first] = await orm.select({ user: member.user }).from(member).where(where).limit(1)
      return first?.user
    },
    async successor(leaving) {
      for (const role of ['admin', 'member'] as const) {
        const where = and(ofRoom, eq(member.role, role), ne(member.user, leaving))
        const [first] = await orm
          .select()
          .from(member)
          .where(where)
          .orderBy(asc(member.createdAt), asc(member.user))
          .limit(1)
        if (first) return { ...first, role }
      }
      return undefined
    },
    async ban(user, by, now) {
      await orm.insert(roomBans).values({ room: row.id, user, bannedBy: by, createdAt: now })
    },
    async unban(user) {
      await orm.delete(roomBans).where(and(eq(roomBans.room, row.id), eq(roomBans.user, user)))
    },
    write: (change) => write(db, row, change),
  }
}

/** Accounts by their ids; those that do not exist are left out. Index: the primary key. */
export async function usersById({ orm }: Db, ids: readonly string[]): Promise<Map<string, UserRow>> {
  if (ids.length === 0) return new Map()
  const rows = await orm
    .select()
    .from(users)
    .where(inArray(users.id, [...ids]))
  return new Map(rows.map((row) => [row.id, row]))
}

/** In how many rooms each user is; those in none are left out. Index: conversation_members_pk. */
export async function countRooms(db: Db, names: readonly string[]): Promise<Map<string, number>> {
  if (names.length === 0) return new Map()
  const rows = await db.select<{ user: string; count: string }>(
    "SELECT user, COUNT(*) AS count FROM conversation_members WHERE user IN (?) AND conversation LIKE 'room:%' GROUP BY user",
    [names],
  )
  return new Map(rows.map(({ user, count }) => [user, Number(count)]))
}

async function write({ orm }: Db, row: RoomRow, change: RoomWrite): Promise<RoomRow> {
  const { add = [], set = [], remove = [], ended = false, now, by, entry } = change
  const conversation = roomConversation(row.id)
  const at = (user: string) =>
    and(eq(conversationMembers.user, user), eq(conversationMembers.conversation, conversation))
  const after: RoomRow = {
    ...row,
    ...change.room,
    version: row.version + 1,
    memberCount: ended ? 0 : row.memberCount + add.length - remove.length,
    // Taken off, so that the index leads to those alone that are still to end.
    ...(ended && { deletedAt: now, endsAt: null }),
  }
  await orm.update(rooms).set(after).where(eq(rooms.id, row.id))
  for (const user of remove) await orm.delete(conversationMembers).where(at(user))
  for (const { user, ...fields } of set) await orm.update(conversationMembers).set(fields).where(at(user))
  await insertMembers(orm, conversation, add, now)
  await orm.insert(outbox).values({ conversation, from: by, createdAt: now, ...entry })
  return after
}

async function insertMembers(
  orm: Db['orm'],
  conversation: string,
  added: NonNullable<RoomWrite['add']>,
  now: Date,
): Promise<void> {
  if (added.length === 0) return
  // By key, against deadlocks.
  const sorted = [...added].sort((a, b) => (a.user < b.user ? -1 : 1))
  const rows = sorted.map((one) => ({ ...one, conversation, kind: 'room', createdAt: now }))
  await orm.insert(conversationMembers).values(rows)
}

export type NewRoom = Pick<RoomRow, 'id' | 'name' | 'kind' | 'visibility' | 'history' | 'createdBy' | 'endsAt'>

/**
 * Makes a room of version 1.
 * @param check runs first, in the same transaction
 * @throws AppError `unavailable`: perhaps it was made; else what `check` throws
 */
export async function insertRoom(
  store: Store,
  room: NewRoom,
  first: Omit<RoomWrite, 'room' | 'set' | 'remove' | 'ended'>,
  check: (read: Pick<HeldRoom, 'users' | 'roomsOf'>) => Promise<void>,
): Promise<RoomRow> {
  return transaction(store, async (db) => {
    await check({ users: (ids) => usersById(db, ids), roomsOf: (names) => countRooms(db, names) })
    const row: RoomRow = { ...room, version: 0, memberCount: 0, createdAt: first.now, deletedAt: null }
    await db.orm.insert(rooms).values(row)
    return write(db, row, first)
  })
}
