/**
 * What devices are pushed unless they acknowledge it before: one row for a device and a conversation, however many entries come. It is
 * claimed like a delivery: moved ahead in time, so that it comes back by itself when its sender dies.
 */
import { inChunks } from './chunks.js'
import { type Db, type Store, transaction } from './db.js'
import { PLACE_COLUMNS, type PlaceColumns, type PushPlace, toPushedDevice } from './push-place.js'

export interface DuePush {
  user: string
  device: string
  conversation: string
  /** Of the newest entry. */
  seq: number
  id: string
  from: string
  /** The beginning of its text, or ''. */
  preview: string
  /** Unix milliseconds from which on nobody wants to hear of any of its entries; null: never. */
  expiresAt: number | null
  /** One of them was pushed with the priority `high`. */
  urgent: boolean
  /** When the first entry that was not pushed came. */
  createdAt: Date
}

export interface ClaimedPush extends DuePush {
  tries: number
  /** Undefined: the device has no subscription any more, or its user may not act any more. */
  subscription: PushPlace | undefined
  /** The user wants to hear nothing of the conversation now. */
  muted: boolean
  /** What the sender is called, undefined for somebody without a row. */
  fromName: string | undefined
  /** Of a room. */
  roomName: string | undefined
}

const keyOf = ({ user, device, conversation }: DuePush): string => `${user} ${device} ${conversation}`

/**
 * Of several for one device and conversation, the newest counts; but one that is forgotten soon takes no earlier one with it. Sorted by
 * key, against deadlocks.
 */
export async function insertDuePushes(db: Db, rows: readonly DuePush[], dueAt: Date): Promise<void> {
  const newest = new Map<string, DuePush>()
  for (const row of rows) {
    const known = newest.get(keyOf(row))
    newest.set(keyOf(row), known ? together(known, row) : row)
  }
  const sorted = [...newest].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
  // The seq last: the assignments run in order, and the others compare with the one before. GREATEST of a NULL is NULL.
  await inChunks(sorted, (chunk) =>
    db.run(
      `INSERT INTO push_due (user, device, conversation, seq, id, from_user, preview, expires_at, urgent, created_at, due_at, tries) VALUES ?
        ON DUPLICATE KEY UPDATE id = IF(VALUES(seq) > seq, VALUES(id), id),
          from_user = IF(VALUES(seq) > seq, VALUES(from_user), from_user),
          preview = IF(VALUES(seq) > seq, VALUES(preview), preview),
          expires_at = GREATEST(expires_at, VALUES(expires_at)), urgent = urgent OR VALUES(urgent),
          seq = GREATEST(seq, VALUES(seq))`,
      [
        chunk.map((row) => [
          ...[row.user, row.device, row.conversation, row.seq, row.id, row.from, row.preview],
          ...[row.expiresAt, row.urgent, row.createdAt, dueAt, 0],
        ]),
      ],
    ),
  )
}

/** What the statement makes of two for one device and conversation. @param first was noted first */
function together(first: DuePush, second: DuePush): DuePush {
  const never = first.expiresAt === null || second.expiresAt === null
  return {
    ...(second.seq > first.seq ? second : first),
    expiresAt: never ? null : Math.max(first.expiresAt!, second.expiresAt!),
    urgent: first.urgent || second.urgent,
    createdAt: first.createdAt,
  }
}

/**
 * Lends the longest due rows: until `until` nobody else is given them. Index: push_due_due_at.
 * @throws AppError `unavailable`
 */
export async function claimPushes(
  store: Store,
  { limit, now, until }: { limit: number; now: Date; until: Date },
): Promise<ClaimedPush[]> {
  const claimed = await transaction(store, async (db) => {
    const rows = await db.select<DuePush & { tries: number }>(
      `SELECT user, device, conversation, seq, id, from_user AS \`from\`, preview, expires_at AS expiresAt, urgent,
          created_at AS createdAt, tries
        FROM push_due WHERE due_at <= ? ORDER BY due_at LIMIT ? FOR UPDATE SKIP LOCKED`,
      [now, limit],
    )
    if (rows.length > 0) {
      const keys = rows.map(({ user, device, conversation }) => [user, device, conversation])
      await db.run('UPDATE push_due SET due_at = ? WHERE (user, device, conversation) IN (?)', [until, keys])
    }
    return rows
  })
  return await withPlaces(store, claimed)
}

/** Where each goes to, and what people see of it. Indexes: push_subscriptions_device, conversation_flags_pk, and the primary keys of users and rooms. */
async function withPlaces(store: Store, rows: readonly (DuePush & { tries: number })[]): Promise<ClaimedPush[]> {
  if (rows.length === 0) return []
  return store.use(async (db) => {
    const subscriptions = await db.select<PlaceColumns>(
      `SELECT ${PLACE_COLUMNS} FROM push_subscriptions AS s JOIN users AS u ON u.id = s.user
        WHERE (s.user, s.device) IN (?) AND u.disabled_at IS NULL AND u.deleted_at IS NULL`,
      [rows.map(({ user, device }) => [user, device])],
    )
    const users = await db.select<{ id: string; name: string }>(
      'SELECT id, display_name AS name FROM users WHERE id IN (?)',
      [rows.map(({ from }) => from)],
    )
    const rooms = await db.select<{ id: string; name: string }>('SELECT id, name FROM rooms WHERE id IN (?)', [
      rows.map(({ conversation }) => roomOf(conversation)),
    ])
    const muted = await db.select<{ user: string; conversation: string }>(
      'SELECT user, conversation FROM conversation_flags WHERE (user, conversation) IN (?) AND muted_until > ?',
      [rows.map(({ user, conversation }) => [user, conversation]), Date.now()],
    )
    const silent = new Set(muted.map(({ user, conversation }) => `${user} ${conversation}`))
    const byDevice = new Map(
      subscriptions.map(toPushedDevice).map((one) => [`${one.user} ${one.device}`, one.subscription]),
    )
    const userNames = new Map(users.map(({ id, name }) => [id, name]))
    const roomNames = new Map(rooms.map(({ id, name }) => [id, name]))
    return rows.map((row) => ({
      ...row,
      seq: Number(row.seq),
      id: String(row.id),
      expiresAt: row.expiresAt === null ? null : Number(row.expiresAt),
      urgent: Boolean(row.urgent),
      subscription: byDevice.get(`${row.user} ${row.device}`),
      muted: silent.has(`${row.user} ${row.conversation}`),
      fromName: userNames.get(row.from),
      roomName: roomNames.get(roomOf(row.conversation)),
    }))
  })
}

/** '' for what is no room. */
const roomOf = (conversation: string): string => (conversation.startsWith('room:') ? conversation.slice(5) : '')

/**
 * It is done with. What came after it was claimed stays, and is due as late after its coming as this one was.
 * @throws AppError `unavailable`: it comes again
 */
export async function finishPush(
  store: Store,
  { user, device, conversation, seq }: DuePush,
  nextDueAt: Date,
): Promise<void> {
  const key = [user, device, conversation]
  const now = new Date()
  await store.use(async (db) => {
    const gone = await db.run('DELETE FROM push_due WHERE user = ? AND device = ? AND conversation = ? AND seq <= ?', [
      ...key,
      seq,
    ])
    if (gone > 0) return
    await db.run(
      'UPDATE push_due SET due_at = ?, created_at = ?, tries = 0 WHERE user = ? AND device = ? AND conversation = ?',
      [nextDueAt, now, ...key],
    )
  })
}

/** It is to be tried again. @throws AppError `unavailable` */
export async function postponePush(store: Store, { user, device, conversation }: DuePush, dueAt: Date): Promise<void> {
  await store.use((db) =>
    db.run('UPDATE push_due SET due_at = ?, tries = tries + 1 WHERE user = ? AND device = ? AND conversation = ?', [
      ...[dueAt, user, device, conversation],
    ]),
  )
}

/** They are due later, though nobody has tried to send them. @throws AppError `unavailable` */
export async function holdPushes(store: Store, pushes: readonly DuePush[], dueAt: Date): Promise<void> {
  if (pushes.length === 0) return
  const keys = pushes.map(({ user, device, conversation }) => [user, device, conversation])
  await store.use((db) =>
    db.run('UPDATE push_due SET due_at = ? WHERE (user, device, conversation) IN (?)', [dueAt, keys]),
  )
}

/** When the next one is due. Index: push_due_due_at. @throws AppError `unavailable` */
export async function nextPushDue(store: Store): Promise<Date | undefined> {
  const [row] = await store.use((db) => db.select<{ due: Date | null }>('SELECT MIN(due_at) AS due FROM push_due'))
  return row?.due ?? undefined
}

/** How many there are. @throws AppError `unavailable` */
export async function countPushes(store: Store): Promise<number> {
  const [row] = await store.use((db) => db.select<{ n: string }>('SELECT COUNT(*) AS n FROM push_due'))
  return Number(row?.n)
}
