/**
 * Changes of rooms: one transaction each, which holds the room's row, so that changes of one room come one after the other; with a row in
 * the outbox that tells of it. Who may do what is decided by the caller, inside.
 */
import type { Role } from '@tidings/protocol'
import { and, asc, eq, isNotNull, ne } from 'drizzle-orm'
import { type Db, type Store, transaction } from './db.js'
import { rememberLeft } from './left-rooms.js'
import { type MemberRow, type RoomRow, roomConversation } from './rooms.js'
import { conversationMembers, outbox, roomBans, rooms, users } from './schema.js'

/** What is written when a room changes, beside its next version. */
export interface RoomWrite {
  /** Who acted. */
  by: string
  now: Date
  room?: Partial<Pick<RoomRow, 'name' | 'visibility' | 'history' | 'retentionDays'>>
  add?: readonly Pick<MemberRow, 'user' | 'role' | 'mutedUntil'>[]
  set?: readonly { user: string; role?: Role; mutedUntil?: number }[]
  remove?: readonly string[]
  /** Nobody is in it any more. */
  ended?: boolean
  /** The entry that tells of it, with the append's change of members. */
  entry: { clientId: string; type: string; content: string; change: string }
}

/** Somebody whom a change concerns. */
export interface Person {
  user: string
  /** Has an account that may act. */
  active: boolean
  banned: boolean
  /** The place in the room. */
  member: MemberRow | undefined
  /** Of somebody who was in the room: until when the mute of then goes on, in milliseconds since 1970; 0: there is none, or it is over. */
  keptMute: number
  /** In how many rooms the user is. */
  rooms: number
}

/** A room whose row is held until the transaction ends. */
export interface HeldRoom {
  readonly row: RoomRow
  /** What is known of these users; those without an account are left out. */
  people(users: readonly string[]): Promise<Person[]>
  owner(): Promise<string | undefined>
  /** Who has been in it longest: those who may act first, of them admins. Somebody else only where nobody may act. */
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
    people: (names) => readPeople(db, row.id, names),
    async owner() {
      const where = and(ofRoom, eq(member.role, 'owner'))
      const [first] = await orm.select({ user: member.user }).from(member).where(where).limit(1)
      return first?.user
    },
    async successor(leaving) {
      const [first] = await orm
        .select({ row: member })
        .from(member)
        .innerJoin(users, eq(users.id, member.user))
        .where(and(ofRoom, ne(member.role, 'owner'), ne(member.user, leaving)))
        .orderBy(
          ...[isNotNull(users.deletedAt), isNotNull(users.disabledAt), ne(member.role, 'admin')],
          ...[asc(member.createdAt), asc(member.user)],
        )
        .limit(1)
      return first && { ...first.row, role: first.row.role as Role }
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

// Indexes: the primary keys, by whole keys; for the count conversation_members_pk, at most as many rows as a user may be in rooms.
const PEOPLE = `SELECT u.id, u.disabled_at IS NULL AND u.deleted_at IS NULL AS active, b.user IS NOT NULL AS banned,
    m.role, m.muted_until, m.joined_seq, m.created_at, l.muted_until AS kept_mute,
    (SELECT COUNT(*) FROM conversation_members AS o WHERE o.user = u.id AND o.conversation LIKE 'room:%') AS rooms
  FROM users AS u
  LEFT JOIN room_bans AS b ON b.room = ? AND b.user = u.id
  LEFT JOIN conversation_members AS m ON m.user = u.id AND m.conversation = ?
  LEFT JOIN left_rooms AS l ON l.user = u.id AND l.conversation = ?
  WHERE u.id IN (?)`

interface PersonRow {
  id: string
  active: number
  banned: number
  role: Role | null
  muted_until: string | null
  joined_seq: string | null
  created_at: Date | null
  kept_mute: string | null
  rooms: string
}

async function readPeople(db: Db, room: string, users: readonly string[]): Promise<Person[]> {
  if (users.length === 0) return []
  const conversation = roomConversation(room)
  const rows = await db.select<PersonRow>(PEOPLE, [room, conversation, conversation, users])
  const now = Date.now()
  return rows.map((row) => ({
    ...{ user: row.id, active: Number(row.active) === 1, banned: Number(row.banned) === 1, rooms: Number(row.rooms) },
    member: row.role
      ? {
          ...{ user: row.id, role: row.role, createdAt: row.created_at! },
          ...{ mutedUntil: Number(row.muted_until), joinedSeq: Number(row.joined_seq) },
        }
      : undefined,
    keptMute: Number(row.kept_mute) > now ? Number(row.kept_mute) : 0,
  }))
}

async function write(db: Db, row: RoomRow, change: RoomWrite): Promise<RoomRow> {
  const { orm } = db
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
  await rememberLeft(db, conversation, remove, now)
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
  check: (read: Pick<HeldRoom, 'people'>) => Promise<void>,
): Promise<RoomRow> {
  return transaction(store, async (db) => {
    await check({ people: (names) => readPeople(db, room.id, names) })
    const fresh = { version: 0, memberCount: 0, createdAt: first.now, deletedAt: null, retentionDays: 0 }
    const row: RoomRow = { ...room, ...fresh }
    await db.orm.insert(rooms).values(row)
    return write(db, row, first)
  })
}
