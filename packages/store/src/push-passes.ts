/**
 * What is pushed to the people of a large room, or to everyone, unless they acknowledge it before: one row for the conversation, however
 * many people and entries there are. A pass goes over the people in the order of their names, a page at a time. Whoever does a page has
 * the row lent, moved ahead in time, under a fence that rises with every lending: a page whose worker was held up beyond its time is
 * another's, and is not written down twice.
 */

import { type Db, type Store, transaction } from './db.js'
import { type DuePush, insertDuePushes } from './push-due.js'

/** An entry for more people than can have a row each. */
export interface WideEntry {
  conversation: string
  seq: number
  /** Milliseconds since 1970. */
  sentAt: number
}

export interface Pass {
  conversation: string
  /** What is below it is done with. */
  firstSeq: number
  /** Of the newest entry. */
  seq: number
  /** When that was sent, in milliseconds since 1970. */
  newestAt: number
  /** Of the entry that the pass which runs tells of; 0 between two passes. */
  passSeq: number
  /** Whom the pass has reached, '' at its beginning. */
  afterUser: string
  fence: number
}

/**
 * Notes entries. One that comes a second time, after a pass has told of it, begins none. Sorted by key, against deadlocks.
 * @param dueAt when a pass may begin, where none waits
 */
export async function notePasses(db: Db, entries: readonly WideEntry[], dueAt: Date): Promise<void> {
  const byConversation = new Map<string, { first: number; seq: number; newestAt: number }>()
  for (const { conversation, seq, sentAt } of entries) {
    const { first, seq: last, newestAt } = byConversation.get(conversation) ?? { first: seq, seq, newestAt: sentAt }
    const about = { first: Math.min(first, seq), seq: Math.max(last, seq), newestAt: Math.max(newestAt, sentAt) }
    byConversation.set(conversation, about)
  }
  const sorted = [...byConversation].sort(([a], [b]) => (a < b ? -1 : 1))
  for (const [conversation, { first, seq, newestAt }] of sorted)
    await db.run(
      `INSERT INTO push_passes (conversation, first_seq, seq, newest_at, due_at) VALUES (?, ?, ?, ?, ?)
        ON DUPLICATE KEY UPDATE due_at = IF(VALUES(seq) >= first_seq, COALESCE(due_at, VALUES(due_at)), due_at),
          newest_at = GREATEST(newest_at, VALUES(newest_at)), seq = GREATEST(seq, VALUES(seq))`,
      [conversation, first, seq, newestAt, dueAt],
    )
}

/** When the next page is due. Index: push_passes_due_at. @throws AppError `unavailable` */
export async function nextPassDue(store: Store): Promise<Date | undefined> {
  const [row] = await store.use((db) => db.select<{ due: Date | null }>('SELECT MIN(due_at) AS due FROM push_passes'))
  return row?.due ?? undefined
}

/**
 * Lends the pass that has waited longest: until `until` nobody else is given it. Index: push_passes_due_at.
 * @throws AppError `unavailable`
 */
export async function claimPass(store: Store, now: Date, until: Date): Promise<Pass | undefined> {
  return transaction(store, async (db) => {
    const [row] = await db.select<Record<keyof Pass, string>>(
      `SELECT conversation, first_seq AS firstSeq, seq, newest_at AS newestAt, pass_seq AS passSeq, after_user AS afterUser, fence
        FROM push_passes WHERE due_at <= ? ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED`,
      [now],
    )
    if (!row) return undefined
    const { conversation, afterUser } = row
    await db.run('UPDATE push_passes SET fence = fence + 1, due_at = ? WHERE conversation = ?', [until, conversation])
    const [firstSeq, seq, newestAt, passSeq, fence] = [row.firstSeq, row.seq, row.newestAt, row.passSeq, row.fence].map(
      Number,
    ) as [number, number, number, number, number]
    return { conversation, firstSeq, seq, newestAt, passSeq, afterUser, fence: fence + 1 }
  })
}

/** Lent to somebody else meanwhile: what was to be written is not. */
class Fenced extends Error {}

/**
 * A page is done: how far the pass has come, and what of the page is to be tried again.
 * @param afterUser the last one of the page; undefined at the end of the pass
 * @param nextDueAt of the next page, or of the next pass, where entries have come since
 * @returns false when the pass is lent to another: nothing was written
 * @throws AppError `unavailable`: the page comes again
 */
export async function advancePass(
  store: Store,
  { conversation, fence }: Pass,
  page: { passSeq: number; afterUser: string | undefined; nextDueAt: Date; again?: readonly DuePush[]; againAt?: Date },
): Promise<boolean> {
  const { passSeq, afterUser, nextDueAt, again = [], againAt = nextDueAt } = page
  try {
    await transaction(store, async (db) => {
      // In the order in which notify writes, against deadlocks.
      await insertDuePushes(db, again, againAt)
      const changed =
        afterUser === undefined
          ? await db.run(
              `UPDATE push_passes SET first_seq = ? + 1, due_at = IF(seq > ?, ?, NULL), pass_seq = 0, after_user = ''
                WHERE conversation = ? AND fence = ?`,
              [passSeq, passSeq, nextDueAt, conversation, fence],
            )
          : await db.run(
              'UPDATE push_passes SET pass_seq = ?, after_user = ?, due_at = ? WHERE conversation = ? AND fence = ?',
              [passSeq, afterUser, nextDueAt, conversation, fence],
            )
      if (changed === 0) throw new Fenced()
    })
    return true
  } catch (error) {
    if (error instanceof Fenced) return false
    throw error
  }
}

/** It may begin later. @throws AppError `unavailable` */
export async function postponePass(store: Store, { conversation, fence }: Pass, dueAt: Date): Promise<void> {
  await store.use((db) =>
    db.run('UPDATE push_passes SET due_at = ? WHERE conversation = ? AND fence = ?', [dueAt, conversation, fence]),
  )
}

/**
 * How many wait or run. Index: push_passes_due_at.
 * @throws AppError `unavailable`
 */
export async function countPasses(store: Store): Promise<number> {
  const [row] = await store.use((db) =>
    db.select<{ n: string }>('SELECT COUNT(*) AS n FROM push_passes WHERE due_at IS NOT NULL'),
  )
  return Number(row?.n)
}

/** Forgets conversations in which nothing came for long: none of their entries comes a second time by now. @throws AppError `unavailable` */
export async function forgetPasses(store: Store, before: number): Promise<void> {
  await store.use((db) => db.run('DELETE FROM push_passes WHERE due_at IS NULL AND newest_at < ?', [before]))
}
