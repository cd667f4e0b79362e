/** One measured stretch: load, then the drain, with the CPU of every server process around both. */
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { nowUs } from './clock.js'
import { type CpuTimes, perUnit, readBusyUs, readCpu, totalOf } from './cpu.js'
import type { Crowd } from './crowd.js'
import type { LoadFigures, Run } from './figures.js'
import { ioPerUnit, readIo } from './io.js'
import type { Order } from './order.js'
import { middleBy } from './statistics.js'
import { countRows, type StreamWatch } from './stored.js'

const POLL_MS = 5
/** Nothing has arrived for so long: what is missing is lost. */
const LOST_AFTER_MS = 10_000

/** Who sends, and who looks whether it is stored. */
export interface Scene {
  order: Order
  crowd: Crowd
  watch: StreamWatch
  /** Nobody stores anything now: it is enough that all has arrived. */
  unstored?: boolean
}

/** A stretch of load as it is measured, whatever it counts. */
export interface Stretch {
  order: Order
  /** How many units are done: messages that were accepted, or deliveries. */
  done(): number
  load(): Promise<void>
  /** Resolves when all that was sent has arrived and is stored. */
  settled(): Promise<void>
}

/** Runs the load and waits for its end. @returns all but the latencies, and how long was sent */
export async function measureStretch({
  order,
  done,
  load,
  settled,
}: Stretch): Promise<Omit<Run, 'latency'> & { sentForUs: number }> {
  const all = [...order.processes, { name: 'load', pid: process.pid }]
  const before = readCpu(order.processes)
  const ioBefore = readIo(all)
  const ownBefore = process.cpuUsage()
  const busyBefore = readBusyUs()
  const doneBefore = done()
  const beganUs = nowUs()
  await load()
  const sentUs = nowUs()
  await settled()
  const endedUs = nowUs()
  const own = process.cpuUsage(ownBefore)
  const messages = done() - doneBefore
  const after = readCpu(order.processes)
  const io = ioPerUnit(ioBefore, readIo(all), messages)
  const ownUs = own.user + own.system
  const othersUs = readBusyUs() - busyBefore - ownUs
  const cpu = perUnit(before, after, messages)
  const seconds = (endedUs - beganUs) / 1_000_000
  return {
    messages,
    seconds,
    perSecond: messages / seconds,
    drainMs: (endedUs - sentUs) / 1_000,
    sentForUs: sentUs - beganUs,
    cpu,
    cpuTotal: totalOf(cpu),
    generatorCpu: ownUs / messages,
    io,
    othersPercent: shareOfOthers(othersUs, { before, after }, endedUs - beganUs),
    window: [beganUs, endedUs],
  }
}

/**
 * Runs the load and waits until every accepted message has arrived and is in MySQL.
 * @param inFlight of a closed loop: messages that are under way at any time
 * @throws Failure when the servers do not get there
 */
export async function measure(scene: Scene, load: () => Promise<void>, inFlight?: number): Promise<Run> {
  const { order, crowd, watch, unstored = false } = scene
  const { checker, latency } = crowd
  const { sentForUs, ...run } = await measureStretch({
    order,
    done: () => checker.accepted,
    load,
    async settled() {
      await allArrived(crowd)
      if (!unstored) await watch.settled()
    },
  })
  if (!unstored) await checkRows(order, crowd)
  if (inFlight === undefined) return { ...run, latency: latency.take() }
  const sentLatency = latency.peek()
  return { ...run, sentLatency, latency: latency.take((sentForUs * inFlight) / run.messages) }
}

/** Per cent of all cores that neither we nor the servers used. @param busyUs what all but us used */
export function shareOfOthers(busyUs: number, cpu: { before: CpuTimes; after: CpuTimes }, elapsedUs: number): number {
  const others = busyUs - (totalOf(cpu.after) - totalOf(cpu.before))
  return Math.max(0, (others / (elapsedUs * availableParallelism())) * 100)
}

/** The figures of several runs of one kind: the one in the middle by messages per second is shown. */
export function figuresOf(name: string, runs: Run[]): LoadFigures {
  return { name, runs, shown: middleBy(runs, (run) => run.perSecond) }
}

/** Resolves when all has arrived, or when it is clear that it never will: the checker then says what is lost. */
export async function allArrived(crowd: Crowd): Promise<void> {
  let { arrived } = crowd
  let since = performance.now()
  while (!crowd.complete && performance.now() - since < LOST_AFTER_MS) {
    await sleep(POLL_MS)
    if (crowd.arrived === arrived) continue
    arrived = crowd.arrived
    since = performance.now()
  }
}

/** Has MySQL a row of each accepted message? */
export async function checkRows({ mysqlUrl }: Order, { checker, prefix }: Crowd): Promise<void> {
  const rows = await countRows(mysqlUrl, prefix)
  if (rows !== checker.accepted) checker.fault(`MySQL has ${rows} of ${checker.accepted} accepted messages`)
}
