/** Every fault, in the order of the matrix. */
import { clientFaults } from './clients.js'
import { etcdFaults } from './etcd.js'
import type { Fault } from './fault.js'
import { mysqlFaults } from './mysql.js'
import { networkFaults } from './network.js'
import { processFaults } from './processes.js'
import { redisFaults } from './redis.js'
import { redisSetFaults } from './redis-sets.js'

const rowNumber = ({ row }: Fault): number => Number.parseInt(row, 10)

export const FAULTS: readonly Fault[] = [
  ...processFaults,
  ...networkFaults,
  ...redisFaults,
  ...redisSetFaults,
  ...mysqlFaults,
  ...etcdFaults,
  ...clientFaults,
].sort((a, b) => rowNumber(a) - rowNumber(b))

/** Rows of the matrix that have no fault here, and why. 47, everything by chance, is what a run does when minutes are left. */
export const NOT_HERE: Readonly<Record<string, string>> = {
  21: 'needs network namespaces, so root',
  24: 'needs a file system of its own, so root; outside of what a user may run',
  33: 'needs a file system of its own, so root; 29 and 31d show the same states to the apps',
  38: 'needs a clock of its own per process; nothing in order, repeats or trimming reads the clock',
  44: 'needs rooms with members',
  45: 'needs signing keys that rotate',
  46: 'needs a second version',
}

/**
 * @param wanted `all`, or rows and ranges: `1,5-9,28`
 * @throws Error that names what does not exist
 */
export function chooseFaults(wanted: string): readonly Fault[] {
  if (wanted === 'none') return []
  if (wanted === 'all') return FAULTS
  return wanted.split(',').flatMap((part) => {
    const [from = '', to = from] = part.trim().split('-')
    const chosen = FAULTS.filter((fault) =>
      from === to
        ? fault.row === from || String(rowNumber(fault)) === from
        : rowNumber(fault) >= Number(from) && rowNumber(fault) <= Number(to),
    )
    if (chosen.length === 0) throw new Error(`There is no fault ${part.trim()}: --list names them.`)
    return chosen
  })
}
