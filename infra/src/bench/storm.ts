/**
 * Very many connections: what they weigh and cost at rest, and then all of them torn off at once and back. Each finds entries that were
 * written meanwhile. Others stay connected and go on talking: what they feel of it is measured from beginning to end.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '../failure.js'
import { mintToken } from '../tokens.js'
import { awayName, indexOf, PER_DEVICE } from './away.js'
import { contentOf } from './checker.js'
import { nowUs } from './clock.js'
import { perUnit, readBusyUs, readCpu, readOwn, totalOf } from './cpu.js'
import { Crowd } from './crowd.js'
import type { StormFigures } from './figures.js'
import { Fleet, type StormAnswer } from './fleet.js'
import { headOf, Line } from './line.js'
import { allArrived, shareOfOthers } from './measure.js'
import { MemoryWatch } from './memory.js'
import { type Order, type ServerProcess, TOKEN_LIFE_S } from './order.js'
import { closedFor } from './overload.js'
import { RateWatch } from './rates.js'
import { steady } from './steady.js'
import { countRows, StreamWatch } from './stored.js'

/** Garbage of the opening, indexes and leases are dealt with in this time. */
const SETTLE_MS = 3_000
const PER_CALL = 500
const CALLS_AT_ONCE = 2
const TRIES = 60
const RETRY_MS = 500
const CLIENTS = 'clients'
/** Whoever is not back so long after the spread has lost something. */
const LONGEST_BACK_MS = 5 * 60_000

export async function storm(order: Order): Promise<{ storm: StormFigures; faults: string[] }> {
  const { stormConnections: connections, stormSpreadMs: spreadMs, stormRate, restMs } = order.scale
  const { inFlight, warmUpMs } = order.scale
  const crowd = await Crowd.gather(order)
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  // Opened when they are needed: a connection on which nothing is asked is closed by the server.
  const lines: Line[] = []
  const fleet = new Fleet(order, connections)
  const over = new AbortController()
  const refused: Record<string, number> = {}
  const count = (code: string): void => {
    refused[code] = (refused[code] ?? 0) + 1
  }
  const answers: StormAnswer[][] = []
  let talk: ReturnType<typeof steady> | undefined
  let rates: RateWatch | undefined
  try {
    // An instance that has just started would pay for its compiler with every message between those who stay.
    for (let i = 0; i < inFlight; i++) lines.push(await Line.open(order.api.host, order.api.port))
    await closedFor(crowd, lines, warmUpMs, count)
    await allArrived(crowd)
    await watch.settled()
    crowd.latency.take()
    const ownBefore = readOwn(order.processes)
    const openBegan = performance.now()
    answers.push(await fleet.open())
    const openSeconds = (performance.now() - openBegan) / 1_000
    await sleep(SETTLE_MS)
    const ownAfter = readOwn(order.processes)

    talk = steady(order, crowd, lines, {
      perSecond: stormRate,
      count: Number.MAX_SAFE_INTEGER,
      signal: over.signal,
      refused: count,
    })
    rates = await RateWatch.open(order)
    const rest = await measureRest(order, 2 * restMs)
    const memory = new MemoryWatch(order.processes)
    const live = { rest: crowd.latency.take() }
    const rested = await rates.take()

    answers.push(await fleet.drop())
    await sleep(SETTLE_MS)
    const drop = crowd.latency.take()
    const fillBegan = performance.now()
    await writeBacklog(order, connections)
    const fill = crowd.latency.take()
    const everyone: ServerProcess[] = [...order.processes, ...fleet.pids.map((pid) => ({ name: CLIENTS, pid }))]
    const cpuBefore = readCpu(everyone)
    const backBegan = performance.now()
    const back = await fleet.return(spreadMs, spreadMs + LONGEST_BACK_MS)
    answers.push(back)
    const backMs = performance.now() - backBegan
    const { [CLIENTS]: clientCpu = 0, ...backCpu } = perUnit(cpuBefore, readCpu(everyone), connections)
    const during = { back: crowd.latency.take(), rates: await rates.take(), memory: memory.stop() }

    over.abort()
    const late = await talk
    await allArrived(crowd)
    await watch.settled()
    await checkRows(order, crowd, { entries: connections * PER_DEVICE, unknown: refused.outcome_unknown ?? 0 })
    const figures: StormFigures = {
      connections,
      connectProcesses: order.websockets.length,
      clientProcesses: fleet.processes,
      openSeconds,
      kibPerConnection: (ownAfter.connect! - ownBefore.connect!) / connections,
      ownBefore,
      ownAfter,
      ...rest,
      entries: connections * PER_DEVICE,
      fillMs: backBegan - fillBegan,
      spreadMs,
      backMs,
      backCpu,
      clientCpu,
      device: back.map((answer) => answer.back!).reduce((worst, each) => (each.p99 > worst.p99 ? each : worst)),
      inVain: sumUp(back.map(({ inVain }) => inVain ?? {})),
      livePerSecond: stormRate,
      live: { ...live, drop, fill, back: during.back, late },
      refused,
      rates: { rest: rested, storm: during.rates },
      memory: during.memory,
    }
    return { storm: figures, faults: [...crowd.faults(), ...answers.flat().flatMap(({ faults }) => faults)] }
  } finally {
    over.abort()
    await talk?.catch(() => undefined)
    await rates?.close()
    fleet.close()
    for (const line of lines) line.close()
    watch.close()
    crowd.leave()
  }
}

function sumUp(counts: readonly Record<string, number>[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const each of counts) for (const [name, count] of Object.entries(each)) sums[name] = (sums[name] ?? 0) + count
  return sums
}

async function measureRest(
  order: Order,
  ms: number,
): Promise<Pick<StormFigures, 'restCpu' | 'restCpuTotal' | 'othersPercent'>> {
  const before = readCpu(order.processes)
  const ownBefore = process.cpuUsage()
  const busyBefore = readBusyUs()
  const beganUs = nowUs()
  await sleep(ms)
  const elapsedUs = nowUs() - beganUs
  const after = readCpu(order.processes)
  const own = process.cpuUsage(ownBefore)
  const busyUs = readBusyUs() - busyBefore - own.user - own.system
  const restCpu = perUnit(before, after, elapsedUs / 100)
  return { restCpu, restCpuTotal: totalOf(restCpu), othersPercent: shareOfOthers(busyUs, { before, after }, elapsedUs) }
}

/** The entries of all devices, each device's in one call, in their order. Refused ones are sent again: their clientIds make that safe. */
async function writeBacklog({ api, jwtSecret }: Order, devices: number): Promise<void> {
  const token = mintToken(jwtSecret, 'writer', TOKEN_LIFE_S)
  const head = headOf('POST', '/api/v1/messages/batch', `${api.host}:${api.port}`, token)
  const share = PER_CALL / PER_DEVICE
  let next = 0
  async function work(): Promise<void> {
    for (let from = next; from < devices; from = next) {
      next += share
      const messages: string[] = []
      for (let i = from; i < Math.min(devices, from + share); i++)
        for (let n = 0; n < PER_DEVICE; n++) messages.push(messageOf(i, n))
      for (let tries = 1; ; tries++) {
        // A refusal may end the connection: each call has its own.
        const line = await Line.open(api.host, api.port)
        const { status, body } = await line.call(head, `{"messages":[${messages.join(',')}]}`)
        line.close()
        const { results } = (status === 202 ? JSON.parse(body) : { results: [] }) as { results: { seq?: number }[] }
        if (results.length === messages.length && results.every(({ seq }, i) => seq === (i % PER_DEVICE) + 1)) break
        if (tries === TRIES)
          throw new Failure(`Entries for those who are away were not accepted: ${status} ${body.slice(0, 300)}`)
        await sleep(RETRY_MS)
      }
    }
  }
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, work))
}

function messageOf(device: number, n: number): string {
  const index = indexOf(device, n)
  return `{"to":{"user":"${awayName(device)}"},"content":${contentOf(index)},"clientId":"w-${index}"}`
}

async function checkRows(
  { mysqlUrl }: Order,
  { checker, prefix }: Crowd,
  { entries, unknown }: { entries: number; unknown: number },
): Promise<void> {
  const [live, written] = await Promise.all([countRows(mysqlUrl, prefix), countRows(mysqlUrl, 'dm:away-')])
  if (live < checker.accepted || live > checker.accepted + unknown)
    checker.fault(`MySQL has ${live} of ${checker.accepted} accepted messages, and ${unknown} of unknown outcome`)
  if (written !== entries) checker.fault(`MySQL has ${written} of ${entries} entries for those who were away`)
}
