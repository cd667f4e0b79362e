/** Every fault, in the order of the matrix. */
import { clientFaults } from './clients.js'
import { etcdFaults } from './etcd.js'
import type { Fault } from './fault.js'
import { mysqlFaults } from './mysql.js'
import { networkFaults } from './network.js'
import { processFaults } from './processes.js'
import { redisFaults } from './redis.js'

const rowNumber = ({ row }: Fault): number => Number.parseInt(row, 10)

export const FAULTS: readonly Fault[] = [
  ...processFaults,
  ...networkFaults,
  ...redisFaults,
  ...mysqlFaults,
  ...etcdFaults,
  ...clientFaults,
].sort((a, b) => rowNumber(a) - rowNumber(b))

/** Rows of the matrix that have no fault here, and why. */
export const NOT_HERE: Readonly<Record<string, string>> = {}

/**
 * @param wanted `all`, or rows and ranges: `1,5-9,28`
 * @throws Error that names what does not exist
 */
export function chooseFaults(wanted: string): Fault[] {
  if (wanted === 'none') return []
  if (wanted === 'all') return FAULTS.filter(({ off }) => off === undefined)
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
