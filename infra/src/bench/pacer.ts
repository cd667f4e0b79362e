/**
 * A thread that says when the next message is due. The timers of the event loop are exact to a millisecond only, and waiting by
 * spinning would take a core away from the servers.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads'
import { nowUs } from './clock.js'

interface Pace {
  startUs: number
  perSecond: number
  count: number
}

/** All messages up to a number are due. */
interface Tick {
  upTo: number
  /** When the first one was. */
  beganUs: number
}

/** Calls `due` for the numbers 0 to count-1, each with the moment it was meant for. Resolves after the last, or when it is aborted. */
export function pace(
  { startUs, perSecond, count, signal }: Pace & { signal?: AbortSignal | undefined },
  due: (meantUs: number) => void,
): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { startUs, perSecond, count } satisfies Pace })
  return new Promise((resolve, reject) => {
    let next = 0
    worker.on('message', ({ upTo, beganUs }: Tick) => {
      for (; next <= upTo; next++) due(beganUs + (next * 1_000_000) / perSecond)
    })
    worker.once('error', reject)
    signal?.addEventListener('abort', () => void worker.terminate(), { once: true })
    worker.once('exit', () => resolve())
  })
}

function run({ startUs, perSecond, count }: Pace): void {
  // On a busy machine a thread takes its time to start: what it was late by is no load that was offered.
  const beganUs = Math.max(startUs, nowUs())
  const bell = new Int32Array(new SharedArrayBuffer(4))
  for (let next = 0; next < count; ) {
    const waitMs = (beganUs + (next * 1_000_000) / perSecond - nowUs()) / 1_000
    if (waitMs > 0) Atomics.wait(bell, 0, 0, waitMs)
    // After a delay all that is due is told at once.
    const upTo = Math.min(count - 1, Math.floor(((nowUs() - beganUs) * perSecond) / 1_000_000))
    if (upTo < next) continue
    parentPort!.postMessage({ upTo, beganUs } satisfies Tick)
    next = upTo + 1
  }
}

if (parentPort) run(workerData as Pace)
