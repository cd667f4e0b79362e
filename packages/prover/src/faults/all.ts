/** Every fault, in the order of the matrix. */
import { canMount } from '../cluster/disk.js'
import type { RedisKind } from '../cluster/redis.js'
import { clientFaults } from './clients.js'
import { clockFaults } from './clocks.js'
import { diskFaults } from './disks.js'
import { etcdFaults } from './etcd.js'
import type { Fault } from './fault.js'
import { mixedFaults } from './mixed.js'
import { mysqlFaults } from './mysql.js'
import { networkFaults } from './network.js'
import { processFaults } from './processes.js'
import { redisFaults } from './redis.js'
import { redisSetFaults } from './redis-sets.js'
import { sessionFaults } from './sessions.js'
import { versionFaults } from './versions.js'

const rowNumber = ({ row }: Fault): number => Number.parseInt(row, 10)

export const FAULTS: readonly Fault[] = [
  ...processFaults,
  ...networkFaults,
  ...redisFaults,
  ...redisSetFaults,
  ...mysqlFaults,
  ...etcdFaults,
  ...clientFaults,
  ...diskFaults,
  ...clockFaults,
  ...sessionFaults,
  ...versionFaults,
  ...mixedFaults,
].sort((a, b) => rowNumber(a) - rowNumber(b))

/** What a row of the matrix asks for and no fault here does, and the test that does. */
export const NOT_HERE: Readonly<Record<string, string>> = {
  26: 'a stream trimmed by hand (XTRIM): packages/harness/test/passed-over.test.ts',
  30: 'two sessions that take rows in reverse order: packages/store/test/away.test.ts',
  41: 'a fifth of the packets lost: no test does that',
  44: 'members who come and go while messages are sent: packages/harness/test/rooms.test.ts',
}

/** Faults that share a cluster. */
export interface Together {
  /** Of its folder. */
  name: string
  redis: RedisKind
  faults: Fault[]
}

/**
 * A cluster of its own for each way in which Redis is set up, and for what may be forgotten: a run is judged by what the worst of its faults
 * may do, so those that may do less must not be among them.
 */
export function byCluster(faults: readonly Fault[]): Together[] {
  const clusters = new Map<string, Together>()
  for (const fault of faults) {
    const { redis = 'one', tailLost, voids } = fault
    const name = tailLost ? `${redis}-lost-tail` : voids ? `${redis}-voids` : redis
    const together = clusters.get(name) ?? { name, redis, faults: [] }
    together.faults.push(fault)
    clusters.set(name, together)
  }
  return clusters.size === 0 ? [{ name: 'one', redis: 'one', faults: [] }] : [...clusters.values()]
}

/** Whether a fault can be done here: some take the right to mount a file system. */
export const isPossible = ({ needs = [] }: Fault): boolean =>
  !needs.some((need) => need.startsWith('disk')) || mayMount()

let mounts: boolean | undefined
function mayMount(): boolean {
  mounts ??= canMount()
  return mounts
}

/**
 * @param wanted `all`, or rows and ranges: `1,5-9,28`; what is known to break a promise only by its whole name
 * @throws Error that names what does not exist
 */
export function chooseFaults(wanted: string): readonly Fault[] {
  if (wanted === 'none') return []
  if (wanted === 'all') return FAULTS.filter(({ open }) => open === undefined)
  return wanted.split(',').flatMap((part) => {
    const [from = '', to = from] = part.trim().split('-')
    const chosen = FAULTS.filter((fault) =>
      from === to
        ? fault.row === from || (String(rowNumber(fault)) === from && fault.open === undefined)
        : rowNumber(fault) >= Number(from) && rowNumber(fault) <= Number(to) && fault.open === undefined,
    )
    if (chosen.length === 0) throw new Error(`There is no fault ${part.trim()}: --list names them.`)
    return chosen
  })
}
