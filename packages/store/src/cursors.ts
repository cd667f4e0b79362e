/** What devices have acknowledged, as written behind from Redis, and when each device was first seen. */
import { by, inChunks } from './chunks.js'
import { type Db, type Store, transaction } from './db.js'

export interface Cursor {
  user: string
  device: string
  conversation: string
  seq: number
}

export interface Device {
  user: string
  device: string
  /** Milliseconds since 1970. */
  firstSeen: number
}

/**
 * Stores devices and cursors; a cursor moves forward only, a device keeps when it was first seen. Sorted by key, against deadlocks.
 * @throws AppError `unavailable`: some may have been stored; repeat all
 */
export async function saveCursors(store: Store, moved: readonly Cursor[], seen: readonly Device[]): Promise<void> {
  const now = new Date()
  const sortedDevices = [...seen].sort(by('user', 'device'))
  const sortedCursors = [...moved].sort(by('user', 'device', 'conversation'))
  await inChunks(sortedDevices, (chunk) => transaction(store, (db) => insertDevices(db, chunk)))
  await inChunks(sortedCursors, (chunk) => transaction(store, (db) => raiseCursors(db, chunk, now)))
}

const insertDevices = (db: Db, chunk: Device[]): Promise<number> =>
  db.run(
    `INSERT INTO devices (user, device, first_seen) VALUES ?
      ON DUPLICATE KEY UPDATE first_seen = LEAST(first_seen, VALUES(first_seen))`,
    [chunk.map(({ user, device, firstSeen }) => [user, device, new Date(firstSeen)])],
  )

// The time first: the assignments run in order, and it compares with the seq before.
const raiseCursors = (db: Db, chunk: Cursor[], now: Date): Promise<number> =>
  db.run(
    `INSERT INTO cursors (user, device, conversation, seq, updated_at) VALUES ?
      ON DUPLICATE KEY UPDATE updated_at = IF(VALUES(seq) > seq, VALUES(updated_at), updated_at), seq = GREATEST(seq, VALUES(seq))`,
    [chunk.map(({ user, device, conversation, seq }) => [user, device, conversation, seq, now])],
  )

/** Devices of a user, by name. Index: devices_pk. @throws AppError `unavailable` */
export async function devicesOf(store: Store, user: string, limit: number): Promise<Omit<Device, 'user'>[]> {
  const rows = await store.use((db) =>
    db.select<{ device: string; firstSeen: Date }>(
      'SELECT device, first_seen AS firstSeen FROM devices WHERE user = ? ORDER BY device LIMIT ?',
      [user, limit],
    ),
  )
  return rows.map(({ device, firstSeen }) => ({ device, firstSeen: firstSeen.getTime() }))
}

/** All devices and cursors of the users. Indexes: devices_pk, cursors_pk. @throws AppError `unavailable` */
export async function cursorsOf(
  store: Store,
  users: readonly string[],
): Promise<{ devices: Device[]; cursors: Cursor[] }> {
  if (users.length === 0) return { devices: [], cursors: [] }
  return store.use(async (db) => {
    // Devices last: one that was stored between the two reads is then without cursors only if it has none.
    const moved = await db.select<Cursor>('SELECT user, device, conversation, seq FROM cursors WHERE user IN (?)', [
      [...users],
    ])
    const seen = await db.select<Omit<Device, 'firstSeen'> & { firstSeen: Date }>(
      'SELECT user, device, first_seen AS firstSeen FROM devices WHERE user IN (?)',
      [[...users]],
    )
    return {
      devices: seen.map((row) => ({ ...row, firstSeen: row.firstSeen.getTime() })),
      // The driver gives 64 bits as text.
      cursors: moved.map((row) => ({ ...row, seq: Number(row.seq) })),
    }
  })
}
