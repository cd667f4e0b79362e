/** Twice as much as the instance can do, for a while: what it accepts keeps its promises, the rest is refused, and memory stays level. */

import { nowUs } from './clock.js'
import { Crowd } from './crowd.js'
import type { OverloadFigures } from './figures.js'
import { Line } from './line.js'
import { allArrived } from './measure.js'
import { MemoryWatch } from './memory.js'
import type { Order } from './order.js'
import { pace } from './pacer.js'
import { LatencyRecorder } from './statistics.js'
import { countRows, StreamWatch } from './stored.js'

/** More than the api takes at once, so that it is the api that refuses. */
const LINES = 3_000
/** Connections that are being opened: a queue of them that overflows would be measured as answers that come seconds late. */
const OPENING = 50
const OVER = 2
const CAPACITY_MS = 5_000
/** What was accepted may lie in the streams for a while. */
const DRAIN_MS = 15 * 60_000

export async function overload(order: Order): Promise<{ overload: OverloadFigures; faults: string[] }> {
  const crowd = await Crowd.gather(order)
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  const lines: Line[] = []
  try {
    for (let i = 0; i < order.scale.inFlight; i++) lines.push(await Line.open(order.api.host, order.api.port))
    await closedFor(crowd, lines, order.scale.warmUpMs)
    const before = crowd.checker.accepted
    const capacity = Math.round((await closedFor(crowd, lines, CAPACITY_MS)) / (CAPACITY_MS / 1_000))
    const memory = new MemoryWatch(order.processes)
    const load = await openLoop(order, crowd, lines, capacity * OVER)
    const drainBegan = performance.now()
    await allArrived(crowd)
    await watch.settled(DRAIN_MS)
    const drainMs = performance.now() - drainBegan
    const { checker, prefix } = crowd
    const rows = await countRows(order.mysqlUrl, prefix)
    if (rows < checker.accepted || rows > checker.accepted + load.unknown)
      checker.fault(
        `MySQL has ${rows} of ${checker.accepted} accepted messages, and ${load.unknown} of unknown outcome`,
      )
    const figures = { capacity, ...load, accepted: checker.accepted - before, drainMs, memory: memory.stop() }
    return { overload: figures, faults: crowd.faults() }
  } finally {
    for (const line of lines) line.close()
    watch.close()
    crowd.leave()
  }
}

/** As many at once as there are lines, for a while. @param refused told of each refusal @returns how many were accepted */
export async function closedFor(
  crowd: Crowd,
  lines: readonly Line[],
  ms: number,
  refused: (code: string) => void = () => undefined,
): Promise<number> {
  const before = crowd.checker.accepted
  const end = performance.now() + ms
  await Promise.all(
    lines.map(async (line) => {
      // A machine that others use too may be overloaded by this already.
      while (performance.now() < end) {
        const code = await crowd.tryOne(line)
        if (code !== undefined) refused(code)
      }
    }),
  )
  return crowd.checker.accepted - before
}

/** Sends at a pace whatever the servers do. A message for which every line is taken is not sent, and counted. */
async function openLoop(order: Order, crowd: Crowd, lines: Line[], perSecond: number) {
  const answered = new LatencyRecorder()
  const late = new LatencyRecorder()
  const refused: Record<string, number> = {}
  const free = [...lines]
  const calls = new Set<Promise<void>>()
  let unsent = 0
  let acceptedNow = 0
  async function send(line: Line, meantUs: number): Promise<void> {
    late.record(nowUs() - meantUs)
    const code = await crowd.tryOne(line, meantUs)
    if (code === undefined) {
      acceptedNow++
      answered.record(nowUs() - meantUs)
    } else refused[code] = (refused[code] ?? 0) + 1
    free.push(line)
  }
  let opening = 0
  async function open(meantUs: number): Promise<void> {
    opening++
    const line = await Line.open(order.api.host, order.api.port).finally(() => opening--)
    lines.push(line)
    await send(line, meantUs)
  }
  /** The one that has rested longest, unless it has rested too long: such ones are forgotten. */
  function nextFree(): Line | undefined {
    let line = free.shift()
    while (line?.stale) {
      line.close()
      lines.splice(lines.indexOf(line), 1)
      line = free.shift()
    }
    return line
  }
  const due = (meantUs: number): void => {
    const line = nextFree()
    if (!line && (opening >= OPENING || lines.length + opening >= LINES)) {
      unsent++
      return
    }
    const call = (line ? send(line, meantUs) : open(meantUs)).finally(() => calls.delete(call))
    calls.add(call)
    call.catch((error: unknown) => crowd.checker.fault(`a call broke: ${String(error)}`))
  }
  const beganUs = nowUs()
  const count = Math.round((perSecond * order.scale.overloadMs) / 1_000)
  await pace({ startUs: beganUs, perSecond, count }, due)
  await Promise.allSettled(calls)
  const seconds = (nowUs() - beganUs) / 1_000_000
  crowd.latency.take()
  return {
    seconds,
    offeredPerSecond: perSecond,
    acceptedPerSecond: acceptedNow / seconds,
    refused,
    refusedPerSecond: Object.values(refused).reduce((sum, n) => sum + n, 0) / seconds,
    unsent,
    unknown: refused.outcome_unknown ?? 0,
    answered: answered.take(),
    late: late.take(),
  }
}
