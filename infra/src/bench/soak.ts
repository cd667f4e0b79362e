/** Half of what the instance can do, for long: memory, open files and the delay of the event loops stay level. */
import { Crowd } from './crowd.js'
import type { HeapFigures, Levels, SoakFigures } from './figures.js'
import { HealthWatch, LOAD } from './health.js'
import { compareHeaps, kindsOf, readHeaps } from './heap.js'
import { Line } from './line.js'
import { allArrived } from './measure.js'
import type { Order } from './order.js'
import { closedFor } from './overload.js'
import { steady } from './steady.js'
import { countRows, StreamWatch } from './stored.js'

const CAPACITY_MS = 5_000
const SHARE = 0.5
const DRAIN_MS = 5 * 60_000
/** In less time heaps are still filling, and what rises need not go on rising. */
const JUDGED_FROM_MS = 10 * 60_000
const STORES = new Set(['redis', 'mysql', 'etcd'])

export async function soak(order: Order): Promise<{ soak: SoakFigures; faults: string[] }> {
  const { inFlight, warmUpMs, soakMs } = order.scale
  const crowd = await Crowd.gather(order)
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  const lines: Line[] = []
  const refused: Record<string, number> = {}
  try {
    for (let i = 0; i < inFlight; i++) lines.push(await Line.open(order.api.host, order.api.port))
    await closedFor(crowd, lines, warmUpMs)
    const capacity = Math.round((await closedFor(crowd, lines, CAPACITY_MS)) / (CAPACITY_MS / 1_000))
    await allArrived(crowd)
    crowd.latency.take()
    const before = crowd.checker.accepted
    const perSecond = Math.max(1, Math.round(capacity * SHARE))
    const heapsBefore = await readHeaps(order.processes, order.snapshots!)
    const health = new HealthWatch(order.processes)
    const late = await steady(order, crowd, lines, {
      perSecond,
      count: Math.round((perSecond * soakMs) / 1_000),
      refused: (code) => {
        refused[code] = (refused[code] ?? 0) + 1
      },
    })
    const levels = await health.stop()
    const drainBegan = performance.now()
    await allArrived(crowd)
    await watch.settled(DRAIN_MS)
    const drainMs = performance.now() - drainBegan
    const { checker, prefix, latency } = crowd
    const rows = await countRows(order.mysqlUrl, prefix)
    const unknown = refused.outcome_unknown ?? 0
    if (rows < checker.accepted || rows > checker.accepted + unknown)
      checker.fault(`MySQL has ${rows} of ${checker.accepted} accepted messages, and ${unknown} of unknown outcome`)
    const figures: SoakFigures = {
      minutes: soakMs / 60_000,
      capacity,
      perSecond,
      accepted: checker.accepted - before,
      refused,
      latency: latency.take(),
      late,
      drainMs,
      ...levels,
      heap: compareHeaps(heapsBefore, await readHeaps(order.processes, order.snapshots!)),
    }
    return { soak: figures, faults: [...crowd.faults(), ...(soakMs >= JUDGED_FROM_MS ? growth(figures) : [])] }
  } finally {
    for (const line of lines) line.close()
    watch.close()
    crowd.leave()
  }
}

/** What the end may have more of than the beginning: a share of it, and so much in any case. */
const BOUNDS = {
  memory: { share: 0.25, any: 32 },
  handles: { share: 0.1, any: 20 },
  resources: { share: 0.25, any: 50 },
  delay: { share: 1, any: 20 },
}
/** In MiB, after a full collection. */
const HEAP_BOUND = { share: 0.25, any: 8 }

/** What has grown beyond its bound. The stores' memory is left out: MariaDB fills its buffers, and Redis holds the newest entries. */
export function growth(
  levels: Record<keyof typeof BOUNDS, Levels> & { heap: Readonly<Record<string, HeapFigures>> },
): string[] {
  const { share, any } = HEAP_BOUND
  const heaps = Object.entries(levels.heap).flatMap(([name, { beforeMib, afterMib, grown }]) =>
    afterMib <= beforeMib * (1 + share) + any
      ? []
      : [`${name}: heap grew from ${beforeMib.toFixed(1)} to ${afterMib.toFixed(1)}: ${kindsOf(grown)}`],
  )
  const others = (['memory', 'handles', 'resources', 'delay'] as const).flatMap((what) => {
    const { share, any } = BOUNDS[what]
    const { first, last } = levels[what]
    return Object.entries(last).flatMap(([name, atEnd]) => {
      const begin = first[name] ?? atEnd
      // After a stall the generator opens more connections, which is no growth of the api.
      const end = what === 'handles' && name === 'api' ? atEnd - (last[LOAD] ?? 0) + (first[LOAD] ?? 0) : atEnd
      const judged = name !== LOAD && (what !== 'memory' || !STORES.has(name))
      if (!judged || end <= begin * (1 + share) + any) return []
      return [`${name}: ${what} grew from ${begin.toFixed(1)} to ${end.toFixed(1)}`]
    })
  })
  return [...heaps, ...others]
}
