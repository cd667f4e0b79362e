/** Fences: once a newer owner of a partition has raised its fence, nothing of the older one is stored any more. */
import type { Db, Store } from './db.js'

// partition_fences_pk. VALUES() rather than the row alias of MySQL 8.0.19: MariaDB does not know the latter.
const RAISE = `INSERT INTO partition_fences (group_name, partition_no, fence) VALUES ?
  ON DUPLICATE KEY UPDATE fence = GREATEST(fence, VALUES(fence))`
const LOCK_SHARED =
  'SELECT partition_no, fence FROM partition_fences WHERE group_name = ? AND partition_no IN (?) ORDER BY partition_no LOCK IN SHARE MODE'

/**
 * Makes `fence` the least that may write for the partition, or leaves the stored one where that is higher. A running transaction
 * of the older owner ends first.
 * @returns undefined, or the stored fence where that is higher: a newer owner exists
 * @throws AppError `unavailable`
 */
export async function raiseFence(
  store: Store,
  group: string,
  partition: number,
  fence: number,
): Promise<number | undefined> {
  return store.use(async (db) => {
    await db.run(RAISE, [[[group, partition, fence]]])
    const rows = await db.select<{ fence: string }>(
      'SELECT fence FROM partition_fences WHERE group_name = ? AND partition_no = ?',
      [group, partition],
    )
    const stored = Number(rows[0]!.fence)
    return stored > fence ? stored : undefined
  })
}

/**
 * Inside a transaction: nobody who works on the partition now writes any more, before he has claimed it again. Waits for running
 * transactions of theirs.
 */
export async function raiseAllFences(db: Db, partition: number): Promise<void> {
  await db.run('UPDATE partition_fences SET fence = fence + 1 WHERE partition_no = ?', [partition])
}

/**
 * Inside a transaction: holds the fences of these partitions where they are until it ends.
 * @param wanted the caller's fence of each partition
 * @returns the partitions whose stored fence is higher, with that fence
 */
export async function holdFences(
  db: Db,
  group: string,
  wanted: ReadonlyMap<number, number>,
): Promise<Map<number, number>> {
  const partitions = [...wanted.keys()].sort((a, b) => a - b)
  let rows = await db.select<{ partition_no: number; fence: string }>(LOCK_SHARED, [group, partitions])
  if (rows.length < partitions.length) {
    // A fence that was never raised cannot be held: there is no row to lock.
    const known = new Set(rows.map((row) => row.partition_no))
    const missing = partitions.filter((partition) => !known.has(partition))
    await db.run(RAISE, [missing.map((partition) => [group, partition, wanted.get(partition)])])
    rows = await db.select(LOCK_SHARED, [group, partitions])
  }
  const higher = rows.filter((row) => Number(row.fence) > wanted.get(row.partition_no)!)
  return new Map(higher.map((row) => [row.partition_no, Number(row.fence)]))
}
