/**
 * What is due to webhooks. A row is written once for a webhook and an event, whatever comes twice; it is claimed by being moved ahead
 * in time, so that it comes back by itself when its sender dies; and it goes when the endpoint has taken it.
 */
import { type Db, type Store, transaction } from './db.js'

export interface NewDelivery {
  webhook: string
  eventId: string
  body: string
}

export interface ClaimedDelivery {
  id: number
  eventId: string
  body: string
  /** Those before this one. */
  tries: number
  retryFrom: Date
}

export interface DeadDelivery {
  id: number
  eventId: string
  body: string
  tries: number
  createdAt: Date
  deadAt: Date
  lastError: string
}

/** A body may have 16 KiB of content, and twice that when each quote is escaped: far below what a server takes in one statement. */
const PER_INSERT = 100
/** Rows that one statement of housekeeping touches, so that it holds up nobody; and how often it is repeated. */
const SWEEP = 1_000
const SWEEPS = 50

/** Writes rows that are due at once; one that is there stays as it is. Sorted by key, against deadlocks. */
export async function insertDeliveries(db: Db, rows: readonly NewDelivery[], now: Date): Promise<void> {
  const sorted = [...rows].sort((a, b) => (`${a.webhook} ${a.eventId}` < `${b.webhook} ${b.eventId}` ? -1 : 1))
  for (let at = 0; at < sorted.length; at += PER_INSERT) {
    const chunk = sorted.slice(at, at + PER_INSERT)
    await db.run(
      `INSERT INTO deliveries (webhook, event_id, body, created_at, retry_from, due_at, tries) VALUES ?
        ON DUPLICATE KEY UPDATE event_id = VALUES(event_id)`,
      [chunk.map(({ webhook, eventId, body }) => [webhook, eventId, body, now, now, now, 0])],
    )
  }
}

/**
 * Lends the longest due rows of a webhook: until `until` nobody else is given them. Index: deliveries_due.
 * @throws AppError `unavailable`
 */
export async function claimDeliveries(
  store: Store,
  { webhook, limit, now, until }: { webhook: string; limit: number; now: Date; until: Date },
): Promise<ClaimedDelivery[]> {
  return transaction(store, async (db) => {
    const rows = await db.select<ClaimedDelivery>(
      `SELECT id, event_id AS eventId, body, tries, retry_from AS retryFrom FROM deliveries
        WHERE webhook = ? AND due_at <= ? ORDER BY due_at, id LIMIT ? FOR UPDATE SKIP LOCKED`,
      [webhook, now, limit],
    )
    if (rows.length > 0)
      await db.run('UPDATE deliveries SET due_at = ? WHERE id IN (?)', [until, rows.map(({ id }) => id)])
    return rows.map((row) => ({ ...row, id: Number(row.id) }))
  })
}

/** The endpoint has taken them. @throws AppError `unavailable`: they come again */
export async function deleteDeliveries(store: Store, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return
  await store.use((db) => db.run('DELETE FROM deliveries WHERE id IN (?)', [[...ids].sort((a, b) => a - b)]))
}

/** It is to be tried again. @throws AppError `unavailable` */
export async function postponeDelivery(store: Store, id: number, dueAt: Date, error: string): Promise<void> {
  await store.use((db) =>
    db.run('UPDATE deliveries SET due_at = ?, tries = tries + 1, last_error = ? WHERE id = ? AND dead_at IS NULL', [
      dueAt,
      error.slice(0, 255),
      id,
    ]),
  )
}

/** It is given up. @throws AppError `unavailable` */
export async function buryDelivery(store: Store, id: number, now: Date, error: string): Promise<void> {
  await store.use((db) =>
    db.run('UPDATE deliveries SET due_at = NULL, dead_at = ?, tries = tries + 1, last_error = ? WHERE id = ?', [
      now,
      error.slice(0, 255),
      id,
    ]),
  )
}

/** What waited so long that it is given up without a try. @returns how many @throws AppError `unavailable` */
export async function buryOverdue(store: Store, webhook: string, before: Date, now: Date): Promise<number> {
  return store.use((db) =>
    db.run(
      `UPDATE deliveries SET due_at = NULL, dead_at = ?, last_error = COALESCE(last_error, 'the endpoint did not answer in time')
        WHERE webhook = ? AND due_at <= ? AND retry_from < ? LIMIT ?`,
      [now, webhook, now, before, SWEEP],
    ),
  )
}

/** When the next row of each webhook is due, for those that have any. Index: deliveries_due. @throws AppError `unavailable` */
export async function nextDue(store: Store): Promise<Map<string, Date>> {
  const rows = await store.use((db) =>
    db.select<{ webhook: string; due: Date | null }>(
      'SELECT webhook, MIN(due_at) AS due FROM deliveries GROUP BY webhook',
    ),
  )
  return new Map(rows.flatMap(({ webhook, due }) => (due === null ? [] : [[webhook, due] as const])))
}

/** How many rows are due to each webhook, now or later. Index: deliveries_due. @throws AppError `unavailable` */
export async function countDue(store: Store): Promise<Map<string, number>> {
  const rows = await store.use((db) =>
    db.select<{ webhook: string; n: string }>('SELECT webhook, COUNT(due_at) AS n FROM deliveries GROUP BY webhook'),
  )
  return new Map(rows.map(({ webhook, n }) => [webhook, Number(n)]))
}

/** How many were given up for each webhook. Index: deliveries_dead. @throws AppError `unavailable` */
export async function countDead(store: Store): Promise<Map<string, number>> {
  const rows = await store.use((db) =>
    db.select<{ webhook: string; n: string }>('SELECT webhook, COUNT(dead_at) AS n FROM deliveries GROUP BY webhook'),
  )
  return new Map(rows.map(({ webhook, n }) => [webhook, Number(n)]))
}

/** A page of what was given up, the oldest first. Index: the primary key below deliveries_dead. @throws AppError `unavailable` */
export async function deadDeliveries(
  store: Store,
  webhook: string,
  after: number,
  limit: number,
): Promise<DeadDelivery[]> {
  const rows = await store.use((db) =>
    db.select<DeadDelivery>(
      `SELECT id, event_id AS eventId, body, tries, created_at AS createdAt, dead_at AS deadAt, COALESCE(last_error, '') AS lastError
        FROM deliveries WHERE webhook = ? AND dead_at IS NOT NULL AND id > ? ORDER BY id LIMIT ?`,
      [webhook, after, limit],
    ),
  )
  return rows.map((row) => ({ ...row, id: Number(row.id) }))
}

/** Makes dead letters due again, with all their time before them. @param ids undefined: the oldest @returns how many @throws AppError `unavailable` */
export async function retryDeliveries(
  store: Store,
  webhook: string,
  ids: readonly number[] | undefined,
  now: Date,
): Promise<number> {
  if (ids?.length === 0) return 0
  return store.use((db) =>
    db.run(
      `UPDATE deliveries SET due_at = ?, retry_from = ?, dead_at = NULL, tries = 0
        WHERE webhook = ? AND dead_at IS NOT NULL ${ids ? 'AND id IN (?)' : ''} ORDER BY id LIMIT ?`,
      [now, now, webhook, ...(ids ? [[...ids]] : []), SWEEP],
    ),
  )
}

/** Which dead letters are forgotten. */
export interface Forgotten {
  /** Those that were given up until then. */
  deadUntil: Date
  /** Those of events that were noted until then; undefined: however old. */
  notedUntil: Date | undefined
  /** Those beyond the newest so many of a webhook. */
  most: number
}

/** Forgets dead letters, and rows of webhooks that are gone. @throws AppError `unavailable` */
export async function forgetDeliveries(store: Store, { deadUntil, notedUntil, most }: Forgotten): Promise<void> {
  const webhooks = await store.use((db) =>
    db.select<{ webhook: string; known: string | null }>(
      `SELECT d.webhook AS webhook, w.id AS known FROM (SELECT DISTINCT webhook FROM deliveries) AS d
        LEFT JOIN webhooks AS w ON w.id = d.webhook`,
    ),
  )
  for (const { webhook, known } of webhooks) {
    if (known === null) {
      for (let i = 0, gone = SWEEP; i < SWEEPS && gone === SWEEP; i++)
        gone = await store.use((db) => db.run('DELETE FROM deliveries WHERE webhook = ? LIMIT ?', [webhook, SWEEP]))
      continue
    }
    const [beyond] = await store.use((db) =>
      db.select<{ deadAt: Date }>(
        `SELECT dead_at AS deadAt FROM deliveries WHERE webhook = ? AND dead_at IS NOT NULL
          ORDER BY dead_at DESC LIMIT 1 OFFSET ?`,
        [webhook, most],
      ),
    )
    const from = beyond && beyond.deadAt > deadUntil ? beyond.deadAt : deadUntil
    await store.use((db) =>
      db.run('DELETE FROM deliveries WHERE webhook = ? AND dead_at <= ? LIMIT ?', [webhook, from, SWEEP]),
    )
    if (notedUntil === undefined) continue
    // Index: deliveries_dead, all of the webhook: there are no more than `most`.
    await store.use((db) =>
      db.run('DELETE FROM deliveries WHERE webhook = ? AND dead_at IS NOT NULL AND created_at <= ? LIMIT ?', [
        ...[webhook, notedUntil, SWEEP],
      ]),
    )
  }
}
