/** One short load among several, with the machine's speed before and after it. */

import { mintToken } from '../tokens.js'
import { nowUs } from './clock.js'
import { perUnit, readCpu, totalOf } from './cpu.js'
import type { Figures, LoadFigures, Run } from './figures.js'
import { fill } from './fill.js'
import { batch, direct, directUnstored, type LoadOutcome } from './loads.js'
import { checkRows, figuresOf, type Scene } from './measure.js'
import { timeReference } from './micro-timing.js'
import type { Order, ServerProcess } from './order.js'
import { Receiver } from './receiver.js'
import { countRows } from './stored.js'

/** In each conversation of a backlog. */
const PER_SENDER = 1_000
const STORED_MS = 20 * 60_000

/** Runs the load of one point. */
export async function point(order: Order): Promise<Figures> {
  const before = await timeReference()
  const { loads, faults } = await play(order)
  return { suite: order.suite, loads, faults, referenceNs: (before + (await timeReference())) / 2 }
}

function play(order: Order): Promise<LoadOutcome> {
  const { backlog } = order.point!
  if (backlog) return behind(order, backlog)
  return order.suite === 'batch' ? batch(order) : direct(order)
}

/** With so many entries before persist, whose worker sleeps until the load is over; then what they and those of the load cost to store. */
async function behind(
  order: Order,
  { entries, worker }: { entries: number; worker: ServerProcess },
): Promise<LoadOutcome> {
  const { mysqlUrl } = order
  const prefix = `dm:${order.suite}-`
  const rowsBefore = await countRows(mysqlUrl, prefix)
  process.kill(worker.pid, 'SIGSTOP')
  try {
    if (entries > 0) await fillUp(order, entries)
    return await directUnstored(order, async (scene) => {
      const drained = await drain(scene, entries, () => process.kill(worker.pid, 'SIGCONT'))
      const rows = (await countRows(mysqlUrl, prefix)) - rowsBefore
      if (rows !== entries) scene.crowd.checker.fault(`MySQL has ${rows} rows of ${entries} entries of the backlog`)
      return drained
    })
  } finally {
    process.kill(worker.pid, 'SIGCONT')
  }
}

async function fillUp(order: Order, entries: number): Promise<void> {
  const name = `${order.point!.crowd}-filled`
  const events = { message: () => undefined, unexpected: () => undefined }
  // Makes the receiver a user who can be written to.
  const receiver = await Receiver.open(order.websocket, mintToken(order.jwtSecret, name, 3_600), events)
  receiver.close()
  await fill(order, name, Math.ceil(entries / PER_SENDER), entries)
}

/** What it costs until everything is stored, by entry: those of the backlog, and those of the load. */
async function drain({ order, crowd, watch }: Scene, entries: number, wake: () => void): Promise<LoadFigures> {
  const waiting = entries + crowd.checker.accepted
  const before = readCpu(order.processes)
  const ownBefore = process.cpuUsage()
  const beganUs = nowUs()
  wake()
  await watch.settled(STORED_MS)
  const endedUs = nowUs()
  const own = process.cpuUsage(ownBefore)
  const cpu = perUnit(before, readCpu(order.processes), waiting)
  await checkRows(order, crowd)
  const seconds = (endedUs - beganUs) / 1_000_000
  const run: Run = {
    messages: waiting,
    seconds,
    perSecond: waiting / seconds,
    drainMs: seconds * 1_000,
    latency: { p50: 0, p99: 0, max: 0 },
    cpu,
    cpuTotal: totalOf(cpu),
    generatorCpu: (own.user + own.system) / waiting,
    io: {},
    othersPercent: 0,
    window: [beganUs, endedUs],
  }
  return figuresOf('drain', [run])
}
