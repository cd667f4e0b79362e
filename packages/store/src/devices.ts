/** The devices of a user, one by one; what all of them have acknowledged is in cursors.ts. */
import type { Cursor } from './cursors.js'
import { type Store, transaction } from './db.js'

export interface DeviceActivity {
  device: string
  /** When a cursor of it last moved. */
  lastMoved: Date
  conversations: number
}

/** What the devices of a user have acknowledged, in a few words each. Index: cursors_pk. @throws AppError `unavailable` */
export async function deviceActivity(store: Store, user: string): Promise<Map<string, DeviceActivity>> {
  const rows = await store.use((db) =>
    db.select<DeviceActivity>(
      `SELECT device, MAX(updated_at) AS lastMoved, COUNT(*) AS conversations FROM cursors WHERE user = ? GROUP BY device`,
      [user],
    ),
  )
  // The driver gives 64 bits as text.
  return new Map(rows.map((row) => [row.device, { ...row, conversations: Number(row.conversations) }]))
}

/** Forgets a device and its cursors. Indexes: devices_pk, cursors_pk. @throws AppError `unavailable`: nothing was done, or all; repeat it */
export async function removeDevice(store: Store, user: string, device: string): Promise<void> {
  await transaction(store, async (db) => {
    await db.run('DELETE FROM cursors WHERE user = ? AND device = ?', [user, device])
    await db.run('DELETE FROM devices WHERE user = ? AND device = ?', [user, device])
  })
}

/** When the cursors of these devices in a conversation moved last. Index: cursors_pk. @throws AppError `unavailable` */
export async function cursorMoves(
  store: Store,
  user: string,
  devices: readonly string[],
  conversation: string,
): Promise<Map<string, Date>> {
  if (devices.length === 0) return new Map()
  const rows = await store.use((db) =>
    db.select<Pick<Cursor, 'device'> & { updatedAt: Date }>(
      'SELECT device, updated_at AS updatedAt FROM cursors WHERE user = ? AND device IN (?) AND conversation = ?',
      [user, [...devices], conversation],
    ),
  )
  return new Map(rows.map(({ device, updatedAt }) => [device, updatedAt]))
}
