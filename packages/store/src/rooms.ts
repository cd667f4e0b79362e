/** Rooms, who is in them and who may not come back: read here, changed in room-changes.ts. */
import type { Role } from '@tidings/protocol'
import { and, asc, eq, gt, inArray, isNull, lte } from 'drizzle-orm'
import type { Db, Store } from './db.js'
import { rememberEnded } from './left-rooms.js'
import { conversationMembers, roomBans, rooms } from './schema.js'

export type RoomRow = typeof rooms.$inferSelect

export interface MemberRow {
  user: string
  role: Role
  /** Milliseconds since 1970; 0: not muted. */
  mutedUntil: number
  /** 0 until the entry that lets the user in is in the log. */
  joinedSeq: number
  createdAt: Date
}

/** The conversation of a room. */
export const roomConversation = (room: string): string => `room:${room}`

const memberColumns = {
  user: conversationMembers.user,
  role: conversationMembers.role,
  mutedUntil: conversationMembers.mutedUntil,
  joinedSeq: conversationMembers.joinedSeq,
  createdAt: conversationMembers.createdAt,
}

/** A room, unless it has ended. Index: the primary key. @throws AppError `unavailable` */
export async function findRoom(store: Store, id: string): Promise<RoomRow | undefined> {
  return (await findRooms(store, [id]))[0]
}

/** Those of the rooms that have not ended, in no order. Index: the primary key. @throws AppError `unavailable` */
export async function findRooms(store: Store, ids: readonly string[]): Promise<RoomRow[]> {
  if (ids.length === 0) return []
  return store.use(({ orm }) =>
    orm
      .select()
      .from(rooms)
      .where(and(inArray(rooms.id, [...ids]), isNull(rooms.deletedAt))),
  )
}

/** Those of the users who are in a room. Index: conversation_members_pk. */
export async function membersAmong(db: Db, room: string, users: readonly string[]): Promise<Map<string, MemberRow>> {
  if (users.length === 0) return new Map()
  const rows = await db.orm
    .select(memberColumns)
    .from(conversationMembers)
    .where(
      and(inArray(conversationMembers.user, [...users]), eq(conversationMembers.conversation, roomConversation(room))),
    )
  return new Map(rows.map((row) => [row.user, { ...row, role: row.role as Role }]))
}

/** A user's place in a room. @throws AppError `unavailable` */
export async function findMember(store: Store, room: string, user: string): Promise<MemberRow | undefined> {
  return store.use(async (db) => (await membersAmong(db, room, [user])).get(user))
}

/** Members in the order of their names. Index: conversation_members_conversation. @throws AppError `unavailable` */
export async function membersAfter(store: Store, room: string, after: string, limit: number): Promise<MemberRow[]> {
  const rows = await store.use(({ orm }) =>
    orm
      .select(memberColumns)
      .from(conversationMembers)
      .where(and(eq(conversationMembers.conversation, roomConversation(room)), gt(conversationMembers.user, after)))
      .orderBy(asc(conversationMembers.user))
      .limit(limit),
  )
  return rows.map((row) => ({ ...row, role: row.role as Role }))
}

/** Takes members off a room that has ended, and what they had set for it; that they were in it is remembered. Indexes: the primary keys. @throws AppError `unavailable` */
export async function removeEndedMembers(store: Store, room: string, users: readonly string[]): Promise<void> {
  const conversation = roomConversation(room)
  await store.use(async (db) => {
    await rememberEnded(db, room, conversation, users)
    await db.run('DELETE FROM conversation_flags WHERE user IN (?) AND conversation = ?', [users, conversation])
    await db.run('DELETE FROM conversation_members WHERE user IN (?) AND conversation = ?', [users, conversation])
  })
}

/** The banned in the order of their names. Index: room_bans_pk. @throws AppError `unavailable` */
export async function bansAfter(store: Store, room: string, after: string, limit: number): Promise<string[]> {
  const rows = await store.use(({ orm }) =>
    orm
      .select({ user: roomBans.user })
      .from(roomBans)
      .where(and(eq(roomBans.room, room), gt(roomBans.user, after)))
      .orderBy(asc(roomBans.user))
      .limit(limit),
  )
  return rows.map(({ user }) => user)
}

export interface FoundRoom extends RoomRow {
  /** The searcher's; '' for a room that the searcher is not in. */
  role: Role | ''
}

const ROOM_COLUMNS = `r.id, r.name, r.kind, r.visibility, r.history, r.version, r.member_count AS memberCount,
  r.created_by AS createdBy, r.created_at AS createdAt, r.ends_at AS endsAt, r.deleted_at AS deletedAt,
  r.retention_days AS retentionDays`
// Both sides by MySQL's own LOWER: a name keeps its letters, and is compared without their case.
const FOUND = 'r.deleted_at IS NULL AND r.id > ? AND LOWER(r.name) LIKE LOWER(?) ORDER BY r.id LIMIT ?'
// Index: rooms_visibility, in the order of ids.
const PUBLIC_FOUND = `SELECT ${ROOM_COLUMNS}, COALESCE(m.role, '') AS role FROM rooms AS r
  LEFT JOIN conversation_members AS m ON m.user = ? AND m.conversation = CONCAT('room:', r.id)
  WHERE r.visibility = 'public' AND ${FOUND}`
// Index: conversation_members_pk, at most as many rows as a user may be in rooms.
const OWN_FOUND = `SELECT ${ROOM_COLUMNS}, m.role FROM conversation_members AS m
  JOIN rooms AS r ON r.id = SUBSTRING(m.conversation, 6)
  WHERE m.user = ? AND m.conversation LIKE 'room:%' AND ${FOUND}`

/**
 * Public rooms, and the user's own, whose name contains the text in any case; in the order of their ids.
 * @throws AppError `unavailable`
 */
export async function searchRooms(
  store: Store,
  search: { user: string; text: string; after: string; limit: number },
): Promise<FoundRoom[]> {
  const { user, text, after, limit } = search
  const pattern = `%${text.replace(/[\\%_]/g, '\\$&')}%`
  const rows = await store.use(async (db) => [
    ...(await db.select<FoundRoom>(PUBLIC_FOUND, [user, after, pattern, limit])),
    ...(await db.select<FoundRoom>(OWN_FOUND, [user, after, pattern, limit])),
  ])
  const byId = new Map(rows.map((row) => [row.id, { ...row, version: Number(row.version) }]))
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit)
}

// Indexes: conversation_members_pk with the front of a room's name, rooms_id; then conversation_members_conversation and users_id up to the
// first who may act.
const ORPHANED = `SELECT r.id, m.user AS owner FROM conversation_members AS m STRAIGHT_JOIN rooms AS r ON r.id = SUBSTRING(m.conversation, 6)
  WHERE m.user IN (?) AND m.conversation LIKE 'room:%' AND m.role = 'owner' AND r.deleted_at IS NULL AND EXISTS (
    SELECT 1 FROM conversation_members AS o STRAIGHT_JOIN users AS p ON p.id = o.user
      WHERE o.conversation = m.conversation AND p.disabled_at IS NULL AND p.deleted_at IS NULL)
  LIMIT ?`

/** Rooms that these users own, whose accounts are gone, while somebody in them may act. @throws AppError `unavailable` */
export async function orphanedRooms(
  store: Store,
  gone: readonly string[],
  limit: number,
): Promise<{ id: string; owner: string }[]> {
  if (gone.length === 0) return []
  return store.use((db) => db.select<{ id: string; owner: string }>(ORPHANED, [gone, limit]))
}

/** Rooms whose time is over and that have not ended yet. Index: rooms_ends_at. @throws AppError `unavailable` */
export async function roomsToEnd(store: Store, now: Date, limit: number): Promise<string[]> {
  const rows = await store.use(({ orm }) =>
    orm
      .select({ id: rooms.id })
      .from(rooms)
      .where(and(lte(rooms.endsAt, now), isNull(rooms.deletedAt)))
      .orderBy(asc(rooms.endsAt))
      .limit(limit),
  )
  return rows.map(({ id }) => id)
}
