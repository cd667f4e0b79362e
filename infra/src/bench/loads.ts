/** The suites that send: as fast as the servers answer, and at a fixed pace. */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowUs } from './clock.js'
import { Crowd } from './crowd.js'
import { Line } from './line.js'
import { figuresOf, measure, type Scene } from './measure.js'
import type { LoadFigures, Order, Run } from './order.js'
import { pace } from './pacer.js'
import { LatencyRecorder } from './statistics.js'
import { StreamWatch } from './stored.js'

/** Lines kept for an open loop: with so many calls unanswered the servers are far behind. */
const OPEN_LOOP_LINES = 512
/** A pause in which an open loop's first message is prepared. */
const HEAD_START_US = 50_000

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
  return onStage(order, width, async (scene, lines) => {
    const { warmUpMs, runMs, runs } = order.scale
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
    for (let i = 0; i < runs; i++) measured.push(await measure(scene, loadFor(runMs), width * perCall))
    return [figuresOf(order.suite, measured)]
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
  const late = new LatencyRecorder()
  /** Messages that wait for a line, when every one is taken. */
  const waiting: number[] = []
  const calls: Promise<void>[] = []

  async function send(line: Line, meantUs: number): Promise<void> {
    for (let next: number | undefined = meantUs; next !== undefined; next = waiting.shift()) {
      late.record(nowUs() - next)
      await crowd.sendOne(line, next)
    }
    lines.push(line)
  }
  let opened = lines.length
  function due(meantUs: number): void {
    const line = lines.pop()
    if (line) calls.push(send(line, meantUs))
    else if (opened >= OPEN_LOOP_LINES) waiting.push(meantUs)
    else {
      opened++
      calls.push(Line.open(order.api.host, order.api.port).then((fresh) => send(fresh, meantUs)))
    }
  }

  const run = await measure(scene, async () => {
    await pace({ startUs: nowUs() + HEAD_START_US, perSecond, count: Math.round((perSecond * ms) / 1_000) }, due)
    await Promise.all(calls)
  })
  return { ...run, lateMs: late.take() }
}

/** Gathers the crowd and its lines, and sends them home whatever happens. */
async function onStage(
  order: Order,
  width: number,
  play: (scene: Scene, lines: Line[]) => Promise<LoadFigures[]>,
): Promise<LoadOutcome> {
  const crowd = await Crowd.gather(order)
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  const lines = await Promise.all(Array.from({ length: width }, () => Line.open(order.api.host, order.api.port)))
  try {
    const loads = await play({ order, crowd, watch }, lines)
    // A doubled message may come late.
    await sleep(200)
    return { loads, faults: crowd.faults() }
  } finally {
    for (const line of lines) line.close()
    watch.close()
    crowd.leave()
  }
}
