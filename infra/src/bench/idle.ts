/** Many connections on which nothing happens: what each costs in memory, and all together in CPU. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { mintToken } from '../tokens.js'
import { nowUs } from './clock.js'
import { perUnit, readBusyUs, readCpu, readOwn, readResident, totalOf } from './cpu.js'
import type { IdleFigures } from './figures.js'
import { shareOfOthers } from './measure.js'
import { type Order, TOKEN_LIFE_S } from './order.js'
import { Receiver } from './receiver.js'

/** As after a restart, when all come at once: an opening waits for etcd, Redis and MySQL, and with few of them that would be measured. */
const OPENING_AT_ONCE = 256
/** Garbage of the opening, indexes and leases are dealt with in this time. */
const SETTLE_MS = 3_000
/** Files the generator, and a server, need for themselves. */
const OTHER_FILES = 200
/** One source address has about 28,000 ports to call from; a second one is taken well before. */
const PER_ADDRESS = 20_000

export interface IdleOutcome {
  idle: IdleFigures
  faults: string[]
}

/** Opens connections, as many as the file limit lets one process have, and lets them rest. */
export async function idle(order: Order): Promise<IdleOutcome> {
  const { processes, scale, jwtSecret, websocket } = order
  const wanted = Math.min(scale.connections, fileLimit() - OTHER_FILES)
  const faults: string[] = []
  const residentBefore = readResident(processes)
  const ownBefore = readOwn(processes)
  const receivers: Receiver[] = []
  const beganUs = nowUs()
  let next = 0
  async function open(): Promise<void> {
    for (let i = next++; i < wanted; i = next++) {
      const token = mintToken(jwtSecret, `idle-${i}`, TOKEN_LIFE_S)
      const events = {
        message: () => void faults.push(`connection ${i} was shown a message`),
        unexpected: (what: string) => void faults.push(`connection ${i}: ${what}`),
      }
      receivers.push(await Receiver.open(websocket, token, events, { localAddress: sourceAddress(i) }))
    }
  }
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, open))
  const openedUs = nowUs()
  await sleep(SETTLE_MS)
  const cpuBefore = readCpu(processes)
  const usageBefore = process.cpuUsage()
  const busyBefore = readBusyUs()
  const restBeganUs = nowUs()
  await sleep(scale.restMs)
  const restUs = nowUs() - restBeganUs
  const cpuAfter = readCpu(processes)
  const usage = process.cpuUsage(usageBefore)
  const busyUs = readBusyUs() - busyBefore - usage.user - usage.system
  const restCpu = perUnit(cpuBefore, cpuAfter, restUs / 100)
  const residentAfter = readResident(processes)
  const ownAfter = readOwn(processes)
  const opened = receivers.length
  for (const receiver of receivers) receiver.close()
  return {
    idle: {
      connections: opened,
      openSeconds: (openedUs - beganUs) / 1_000_000,
      window: [beganUs, openedUs],
      residentBefore,
      residentAfter,
      ownBefore,
      ownAfter,
      kibPerConnection: (ownAfter.connect! - ownBefore.connect!) / opened,
      restCpu,
      restCpuTotal: totalOf(restCpu),
      othersPercent: shareOfOthers(busyUs, { before: cpuBefore, after: cpuAfter }, restUs),
    },
    faults: faults.slice(0, 10),
  }
}

/** Linux answers for the whole of 127.0.0.0/8; the first addresses need no name. */
function sourceAddress(i: number): string | undefined {
  return i < PER_ADDRESS ? undefined : `127.0.0.${1 + Math.floor(i / PER_ADDRESS)}`
}

/** Open files that this process may have. */
function fileLimit(): number {
  const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return line === undefined || line === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line)
}
