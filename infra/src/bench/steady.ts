/** Single messages at a fixed pace, whatever the servers do: an open loop. */
import { nowUs } from './clock.js'
import type { Crowd } from './crowd.js'
import type { Latency } from './figures.js'
import { Line } from './line.js'
import type { Order } from './order.js'
import { pace } from './pacer.js'
import { LatencyRecorder } from './statistics.js'

/** Lines kept: with so many calls unanswered the servers are far behind. */
const MOST_LINES = 512
/** A pause in which the first message is prepared. */
const HEAD_START_US = 50_000

export interface Pace {
  perSecond: number
  /** All of them are sent, unless the signal ends it before. */
  count: number
  signal?: AbortSignal
  /** Told of each refusal where that is an answer like another; else it is a fault. */
  refused?: (code: string) => void
}

/**
 * Sends and waits for every answer. Latency counts from the moment a message was meant to go.
 * @param lines those that are free; more are opened when all are taken
 * @returns how late the generator itself was
 */
export async function steady(
  { api }: Order,
  crowd: Crowd,
  lines: Line[],
  { perSecond, count, signal, refused }: Pace,
): Promise<Latency> {
  const late = new LatencyRecorder()
  /** Messages that wait for a line, when every one is taken. */
  const waiting: number[] = []
  const calls = new Set<Promise<void>>()

  async function send(line: Line, meantUs: number): Promise<void> {
    for (let next: number | undefined = meantUs; next !== undefined; next = waiting.shift()) {
      late.record(nowUs() - next)
      if (refused) {
        const code = await crowd.tryOne(line, next)
        if (code !== undefined) refused(code)
      } else await crowd.sendOne(line, next)
    }
    lines.push(line)
  }
  let opened = lines.length
  /** The one used last, so that those that are not needed rest; the server closes them after a while. */
  function nextFree(): Line | undefined {
    let line = lines.pop()
    for (; line?.stale; line = lines.pop()) {
      line.close()
      opened--
    }
    return line
  }
  function due(meantUs: number): void {
    const line = nextFree()
    if (line) begin(send(line, meantUs))
    else if (opened >= MOST_LINES) waiting.push(meantUs)
    else {
      opened++
      begin(Line.open(api.host, api.port).then((fresh) => send(fresh, meantUs)))
    }
  }
  function begin(call: Promise<void>): void {
    const kept = call
      .catch((error: unknown) => crowd.checker.fault(`a call broke: ${String(error)}`))
      .finally(() => calls.delete(kept))
    calls.add(kept)
  }

  await pace({ startUs: nowUs() + HEAD_START_US, perSecond, count, signal }, due)
  await Promise.all(calls)
  return late.take()
}
