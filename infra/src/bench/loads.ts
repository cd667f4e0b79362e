/** The suites that send: as fast as the servers answer, and at a fixed pace. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Crowd } from './crowd.js'
import type { Latency, LoadFigures, Run } from './figures.js'
import { Line } from './line.js'
import { figuresOf, measure, type Scene } from './measure.js'
import type { Order } from './order.js'
import { steady } from './steady.js'
import { StreamWatch } from './stored.js'

/** What a suite found. */
export interface LoadOutcome {
  loads: LoadFigures[]
  faults: string[]
}

/** Single messages, so many in flight at any time. */
export function direct(order: Order): Promise<LoadOutcome> {
  return closedLoop(order, order.scale.inFlight, 1, (crowd, line) => crowd.sendOne(line))
}

/** A hundred messages a call, a few calls in flight. */
export function batch(order: Order): Promise<LoadOutcome> {
  const { batchesInFlight, perBatch } = order.scale
  return closedLoop(order, batchesInFlight, perBatch, (crowd, line) => crowd.sendBatch(line, perBatch))
}

function closedLoop(
  order: Order,
  width: number,
  perCall: number,
  send: (crowd: Crowd, line: Line) => Promise<void>,
): Promise<LoadOutcome> {
  return onStage(order, width, async (scene, lines) => [await loop(scene, lines, perCall, send)])
}

async function loop(
  scene: Scene,
  lines: Line[],
  perCall: number,
  send: (crowd: Crowd, line: Line) => Promise<void>,
): Promise<LoadFigures> {
  const { warmUpMs, runMs, runs } = scene.order.scale
  const loadFor = (ms: number) => async (): Promise<void> => {
    const end = performance.now() + ms
    await Promise.all(
      lines.map(async (line) => {
        while (performance.now() < end) await send(scene.crowd, line)
      }),
    )
  }
  await measure(scene, loadFor(warmUpMs))
  const measured: Run[] = []
  for (let i = 0; i < runs; i++) measured.push(await measure(scene, loadFor(runMs), lines.length * perCall))
  return figuresOf(scene.order.suite, measured)
}

/**
 * As `direct`, while nobody stores anything; afterwards it is stored.
 * @param store resolves with what that cost when everything is in MySQL
 */
export function directUnstored(order: Order, store: (scene: Scene) => Promise<LoadFigures>): Promise<LoadOutcome> {
  return onStage(order, order.scale.inFlight, async (scene, lines) => {
    const live = await loop({ ...scene, unstored: true }, lines, 1, (crowd, line) => crowd.sendOne(line))
    return [live, await store(scene)]
  })
}

/** Single messages at a fixed pace, whatever the servers do: latency counts from the moment a message was meant to go. */
export function latency(order: Order): Promise<LoadOutcome> {
  return onStage(order, 32, async (scene, lines) => {
    const { rates, runMs, warmUpMs } = order.scale
    await paced(scene, lines, { perSecond: rates[0]!, ms: warmUpMs })
    const loads: LoadFigures[] = []
    for (const perSecond of rates) {
      loads.push(figuresOf(`${order.suite} ${perSecond}/s`, [await paced(scene, lines, { perSecond, ms: runMs })]))
    }
    return loads
  })
}

async function paced(scene: Scene, lines: Line[], { perSecond, ms }: { perSecond: number; ms: number }): Promise<Run> {
  const { crowd, order } = scene
  const count = Math.round((perSecond * ms) / 1_000)
  let lateMs: Latency | undefined
  const run = await measure(scene, async () => {
    lateMs = await steady(order, crowd, lines, { perSecond, count })
  })
  return { ...run, ...(lateMs && { lateMs }) }
}

/** Gathers the crowd and its lines, and sends them home whatever happens. */
async function onStage(
  order: Order,
  width: number,
  play: (scene: Scene, lines: Line[]) => Promise<LoadFigures[]>,
): Promise<LoadOutcome> {
  const crowd = await Crowd.gather(order)
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  const lines = await Promise.all(
    Array.from({ length: width }, (_, i) => {
      const { host, port } = order.apis[i % order.apis.length]!
      return Line.open(host, port)
    }),
  )
  try {
    const loads = await play({ order, crowd, watch }, lines)
    // A doubled message may come late.
    await sleep(200)
    await crowd.bystandersAsked()
    return { loads, faults: crowd.faults() }
  } finally {
    for (const line of lines) line.close()
    watch.close()
    crowd.leave()
  }
}
