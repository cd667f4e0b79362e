/**
 * Work that one process at a time does, wherever it runs: a row per job, whose fence rises with every owner. Times are the database's,
 * so that no process' clock counts. A process that was paused beyond its time, while another one took over, writes nothing any more:
 * each of its transactions holds the row first.
 */
import type { Db, Store } from './db.js'

export interface Job {
  name: string
  fence: number
}

/** How long an owner that says nothing keeps the job. */
const KEPT_S = 30

// All by the primary key.
const MAKE =
  "INSERT INTO jobs (name, owner, fence, `until`) VALUES (?, '', 0, NOW(3)) ON DUPLICATE KEY UPDATE name = VALUES(name)"
const CLAIM = `UPDATE jobs SET owner = ?, fence = fence + 1, \`until\` = NOW(3) + INTERVAL ${KEPT_S} SECOND
  WHERE name = ? AND \`until\` <= NOW(3)`
const HOLD = `UPDATE jobs SET \`until\` = NOW(3) + INTERVAL ${KEPT_S} SECOND WHERE name = ? AND fence = ?`
const GIVE_UP = 'UPDATE jobs SET `until` = NOW(3) WHERE name = ? AND fence = ?'
const POSITION = 'UPDATE jobs SET position = ? WHERE name = ? AND fence = ?'

/**
 * Takes a job that nobody has now.
 * @param owner for whoever looks at the table
 * @returns undefined when somebody has it
 * @throws AppError `unavailable`
 */
export async function claimJob(store: Store, name: string, owner: string): Promise<Job | undefined> {
  return store.use(async (db) => {
    const there = await db.select('SELECT 1 FROM jobs WHERE name = ?', [name])
    if (there.length === 0) await db.run(MAKE, [name])
    if ((await db.run(CLAIM, [owner.slice(0, 64), name])) === 0) return undefined
    const [row] = await db.select<{ fence: string }>('SELECT fence FROM jobs WHERE name = ?', [name])
    return { name, fence: Number(row!.fence) }
  })
}

/**
 * Keeps a job. Inside a transaction: nobody else gets it before that ends.
 * @returns false when it is another's: nothing may be written for it
 */
export const holdJob = async (db: Db, { name, fence }: Job): Promise<boolean> => (await db.run(HOLD, [name, fence])) > 0

/** Lets the next one have it at once. @throws AppError `unavailable`: then it has it later */
export async function giveUpJob(store: Store, { name, fence }: Job): Promise<void> {
  await store.use((db) => db.run(GIVE_UP, [name, fence]))
}

/** How far a job has got, as its owners have written it down; '0' at first. @throws AppError `unavailable` */
export async function jobPosition(store: Store, { name }: Job): Promise<string> {
  const rows = await store.use((db) =>
    db.select<{ position: string }>('SELECT position FROM jobs WHERE name = ?', [name]),
  )
  return String(rows[0]?.position ?? '0')
}

/** Writes down how far a job has got, unless it is another's. @param position 64 bits, decimal @throws AppError `unavailable` */
export async function saveJobPosition(store: Store, { name, fence }: Job, position: string): Promise<void> {
  await store.use((db) => db.run(POSITION, [position, name, fence]))
}
