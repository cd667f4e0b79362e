/** One short load among several, with the machine's speed before and after it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RowDataPacket } from 'mysql2/promise'
import { withMysql } from '../mysql.js'
import { withRedis } from '../redis.js'

import { mintToken } from '../tokens.js'
import { nowUs } from './clock.js'
import { perUnit, readBusyUs, readCpu, totalOf } from './cpu.js'
import { fanout } from './fanout.js'
import type { EntryBytes, Figures, LoadFigures, Run } from './figures.js'
import { fill } from './fill.js'
import { batch, direct, directUnstored, type LoadOutcome } from './loads.js'
import { checkRows, figuresOf, type Scene, shareOfOthers } from './measure.js'
import { timeReference } from './micro-timing.js'
import type { Order, ServerProcess } from './order.js'
import { Receiver } from './receiver.js'
import { countRows } from './stored.js'

/** In each conversation of a backlog. */
const PER_SENDER = 1_000
const STORED_MS = 20 * 60_000
/** In this time the worker trims its streams. */
const TRIMMED_MS = 6_000
const LEAST_SIZED = 50_000

/** Runs the load of one point. */
export async function point(order: Order): Promise<Figures> {
  const before = await timeReference()
  const played = await play(order)
  return { suite: order.suite, ...played, referenceNs: (before + (await timeReference())) / 2 }
}

type PointOutcome = LoadOutcome & { entryBytes?: EntryBytes }

function play(order: Order): Promise<PointOutcome> {
  const { backlog } = order.point!
  if (backlog) return behind(order, backlog)
  if (order.suite === 'fanout') return fanout(order)
  return order.suite === 'batch' ? batch(order) : direct(order)
}

/** With so many entries before persist, whose worker sleeps until the load is over; then what they and those of the load cost to store. */
async function behind(
  order: Order,
  { entries, worker }: { entries: number; worker: ServerProcess },
): Promise<PointOutcome> {
  const { mysqlUrl, redisUrl } = order
  const prefix = `dm:${order.suite}-`
  const rowsBefore = await countRows(mysqlUrl, prefix)
  const sizesBefore = await sizesOf(redisUrl, mysqlUrl)
  process.kill(worker.pid, 'SIGSTOP')
  try {
    if (entries > 0) await fillUp(order, entries)
    const filled = await sizesOf(redisUrl, mysqlUrl)
    let all = 0
    const outcome = await directUnstored(order, async (scene) => {
      all = entries + scene.crowd.checker.accepted
      const drained = await drain(scene, entries, () => process.kill(worker.pid, 'SIGCONT'))
      const rows = (await countRows(mysqlUrl, prefix)) - rowsBefore
      if (rows !== entries) scene.crowd.checker.fault(`MySQL has ${rows} rows of ${entries} entries of the backlog`)
      return drained
    })
    await sleep(TRIMMED_MS)
    const stored = await sizesOf(redisUrl, mysqlUrl)
    const entryBytes = {
      waiting: (filled.redis - sizesBefore.redis) / entries,
      stored: (stored.redis - sizesBefore.redis) / all,
      mysql: (stored.mysql - sizesBefore.mysql) / all,
    }
    // Of a few entries it would be the size of what grows in steps.
    return { ...outcome, ...(entries >= LEAST_SIZED && { entryBytes }) }
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

/** Bytes that Redis uses, and those of MySQL's table of entries. */
async function sizesOf(redisUrl: string, mysqlUrl: string): Promise<{ redis: number; mysql: number }> {
  const memory = await withRedis(redisUrl, (client) => client.info('memory'))
  const mysql = await withMysql(mysqlUrl, async (connection) => {
    await connection.query('ANALYZE TABLE entries')
    const [rows] = await connection.query<(RowDataPacket & { bytes: string | number })[]>(
      "SELECT data_length + index_length AS bytes FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'entries'",
    )
    return Number(rows[0]!.bytes)
  })
  return { redis: Number(/^used_memory:(\d+)/m.exec(memory)?.[1]), mysql }
}

/** What it costs until everything is stored, by entry: those of the backlog, and those of the load. */
async function drain({ order, crowd, watch }: Scene, entries: number, wake: () => void): Promise<LoadFigures> {
  const waiting = entries + crowd.checker.accepted
  const before = readCpu(order.processes)
  const busyBefore = readBusyUs()
  const ownBefore = process.cpuUsage()
  const beganUs = nowUs()
  wake()
  await watch.settled(STORED_MS)
  const endedUs = nowUs()
  const own = process.cpuUsage(ownBefore)
  const after = readCpu(order.processes)
  const ownUs = own.user + own.system
  const busyUs = readBusyUs() - busyBefore - ownUs
  const cpu = perUnit(before, after, waiting)
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
    generatorCpu: ownUs / waiting,
    io: {},
    othersPercent: shareOfOthers(busyUs, { before, after }, endedUs - beganUs),
    window: [beganUs, endedUs],
  }
  return figuresOf('drain', [run])
}
