/** Entries that a stopped persist group left: how long until MySQL has them all, and how much memory that takes. */
import { mintToken } from '../tokens.js'
import type { BacklogFigures } from './figures.js'
import { fill } from './fill.js'
import { MemoryWatch } from './memory.js'
import type { Order, ServerProcess } from './order.js'
import { Receiver } from './receiver.js'
import { countRows, StreamWatch } from './stored.js'

const SENDERS = 1_000
const DRAIN_MS = 30 * 60_000
/** What a process of ours may have at most; the stores hold the entries themselves. */
const MOST_MIB = 512
const STORES = new Set(['redis', 'mysql', 'etcd'])

/** @param startPersist starts a worker for the group that did not run until now */
export async function backlog(
  order: Order,
  startPersist: () => Promise<ServerProcess>,
): Promise<{ backlog: BacklogFigures; faults: string[] }> {
  const receiver = 'backlog-r'
  const faults: string[] = []
  // Makes the receiver a user who can be written to.
  const events = { message: () => undefined, unexpected: (what: string) => void faults.push(what) }
  const first = await Receiver.open(order.websocket, mintToken(order.jwtSecret, receiver, 3_600), events)
  first.close()
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  const processes = [...order.processes]
  try {
    const memory = new MemoryWatch(processes)
    const fillBegan = performance.now()
    const { prefix, counts } = await fill(
      order,
      receiver,
      Math.min(SENDERS, order.scale.backlogEntries),
      order.scale.backlogEntries,
    )
    const fillMs = performance.now() - fillBegan
    const entries = [...counts.values()].reduce((sum, n) => sum + n, 0)
    const waiting = await watch.written()
    if (waiting !== entries) faults.push(`persist has ${waiting} entries before it, and ${entries} were accepted`)
    const drainBegan = performance.now()
    processes.push(await startPersist())
    await watch.settled(DRAIN_MS)
    const drainMs = performance.now() - drainBegan
    const figures = memory.stop()
    const rows = await countRows(order.mysqlUrl, prefix)
    if (rows !== entries) faults.push(`MySQL has ${rows} rows of ${entries} accepted messages`)
    for (const [name, mib] of Object.entries(figures.most)) {
      if (!STORES.has(name) && mib > MOST_MIB) faults.push(`${name} had ${mib.toFixed(0)} MiB: more than ${MOST_MIB}`)
    }
    return { backlog: { entries, fillMs, drainMs, perSecond: (entries / drainMs) * 1_000, memory: figures }, faults }
  } finally {
    watch.close()
  }
}
