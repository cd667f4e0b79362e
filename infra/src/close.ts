/**
 * The last thing before our own Redis is stopped: its partitions are marked as closed in order, so that the next start knows that nothing
 * was lost. Only logic can do it; the runner knows the apps by their built files alone.
 */
import { reasonOf } from './failure.js'

/** What lies in our own Redis. */
export interface DataSet {
  redisUrl: string
  mysqlUrl: string
  namespace: string
  partitions: number
}

interface Close {
  closePartitions(set: DataSet): Promise<void>
}

/** To be called when no app runs any more. Never fails. */
export async function closeInOrder(set: DataSet, say: (line: string) => void): Promise<void> {
  try {
    const { closePartitions } = (await import(
      new URL('../../../apps/logic/dist/src/close.js', import.meta.url).href
    )) as Close
    await closePartitions(set)
  } catch (error) {
    say(`the partitions were not closed in order (${reasonOf(error)}): seqs will leap after the next start`)
  }
}
