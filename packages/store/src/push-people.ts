/** Whom a push to a large room or to everyone is for, a page of people at a time, in the order of their names. */
import type { Db, Store } from './db.js'
import { PLACE_COLUMNS, type PlaceColumns, type PushedDevice, toPushedDevice } from './push-place.js'

/** What the pass tells of. */
export interface WidePush {
  conversation: string
  seq: number
  from: string
  sentAt: number
}

export interface PeoplePage {
  /** Those that have not acknowledged it, as far as MySQL knows. */
  devices: PushedDevice[]
  /** The last one who was looked at; undefined when there is nobody further. */
  upTo: string | undefined
  /** What the sender is called, undefined for somebody without a row. */
  fromName: string | undefined
  /** Of a room. */
  roomName: string | undefined
}

// Whoever came with a later entry, or after it was pushed to everyone, is told nothing of it.
const MEMBERS =
  'JOIN conversation_members AS m ON m.user = s.user AND m.conversation = ? AND m.joined_seq BETWEEN 1 AND ?'
const SINCE = 'AND u.feed_start < ?'

// By name, in this order, whatever the optimizer believes: of a million subscribers or members, those of the page alone are looked at.
// Indexes: push_subscriptions_device, and the primary keys of all others.
const devicesSql = (isOfRoom: boolean): string =>
  `SELECT STRAIGHT_JOIN ${PLACE_COLUMNS} FROM push_subscriptions AS s FORCE INDEX (push_subscriptions_device)
    JOIN users AS u ON u.id = s.user
    ${isOfRoom ? MEMBERS : ''}
    LEFT JOIN cursors AS c ON c.user = s.user AND c.device = s.device AND c.conversation = ?
    LEFT JOIN \`reads\` AS r ON r.user = s.user AND r.conversation = ?
    LEFT JOIN conversation_flags AS f ON f.user = s.user AND f.conversation = ?
    WHERE s.user IN (?) AND s.user <> ? AND s.created_at <= ?
      AND u.disabled_at IS NULL AND u.deleted_at IS NULL ${isOfRoom ? '' : SINCE}
      AND COALESCE(c.seq, 0) < ? AND COALESCE(r.seq, 0) < ? AND COALESCE(f.muted_until, 0) <= ?
    ORDER BY s.user, s.device`

/** For the tests that read EXPLAIN, too. */
export const peopleSql = {
  // Index: push_subscriptions_device, from name to name.
  subscribers: 'SELECT DISTINCT user FROM push_subscriptions WHERE user > ? ORDER BY user LIMIT ?',
  // Index: conversation_members_conversation, which ends with the user.
  members: 'SELECT user FROM conversation_members WHERE conversation = ? AND user > ? ORDER BY user LIMIT ?',
  devicesInRoom: devicesSql(true),
  devices: devicesSql(false),
}

/**
 * The next people after one, and those of their devices that need the push: who has it, has read it or has muted the conversation, who wrote
 * it, who is not in the room any more or was not yet, and who may not act any more, is left out by the same statement.
 * @param room undefined: it is for everyone
 * @param subscribers how many people have subscriptions: the shorter list, theirs or the members', is gone through
 * @param limit people
 * @throws AppError `unavailable`
 */
export async function pushPeopleAfter(
  store: Store,
  push: WidePush,
  { room, after, limit, subscribers }: { room: string | undefined; after: string; limit: number; subscribers: number },
): Promise<PeoplePage> {
  return store.use(async (db) => {
    const [about] =
      room === undefined
        ? []
        : await db.select<{ name: string; members: number }>(
            'SELECT name, member_count AS members FROM rooms WHERE id = ? AND deleted_at IS NULL',
            [room],
          )
    // Who was in a room that has ended is listed still.
    if (room !== undefined && !about) return { devices: [], upTo: undefined, fromName: undefined, roomName: undefined }
    const [sender] = await db.select<{ name: string }>('SELECT display_name AS name FROM users WHERE id = ?', [
      push.from,
    ])
    const people =
      about && about.members < subscribers
        ? await db.select<{ user: string }>(peopleSql.members, [push.conversation, after, limit])
        : await db.select<{ user: string }>(peopleSql.subscribers, [after, limit])
    const users = people.map(({ user }) => user)
    return {
      devices: users.length === 0 ? [] : await devicesOf(db, push, room !== undefined, users),
      upTo: users.length < limit ? undefined : users.at(-1),
      fromName: sender?.name,
      roomName: about?.name,
    }
  })
}

async function devicesOf(
  db: Db,
  { conversation, seq, from, sentAt }: WidePush,
  isOfRoom: boolean,
  users: readonly string[],
): Promise<PushedDevice[]> {
  const rows = await db.select<PlaceColumns>(isOfRoom ? peopleSql.devicesInRoom : peopleSql.devices, [
    ...(isOfRoom ? [conversation, seq] : []),
    ...[conversation, conversation, conversation, users, from, new Date(sentAt)],
    ...(isOfRoom ? [] : [seq]),
    ...[seq, seq, Date.now()],
  ])
  return rows.map(toPushedDevice)
}
