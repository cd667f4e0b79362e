/** The suite `horizontal`: the same load on one process of each app and on two, on one Redis and on a cluster of three shards. */
import type { HorizontalRow } from './figures.js'
import type { Measured, Point } from './series.js'

const SHARDS = 3
const TWO = {
  TIDINGS_API_NODES: '2',
  TIDINGS_LOGIC_NODES: '2',
  TIDINGS_TASK_WORKERS: '2',
  TIDINGS_CONNECT_NODES: '2',
}

const RUNS = { runMs: 3_000, runs: 3 }
/**
 * By calls in flight: who finds little at once pays more for each, so two processes of each app want twice as many for the same, and on
 * three shards more still. Warmed up for long, since of two processes each has half of the messages, and V8 compiles what has run often enough.
 */
const LOADS: readonly Pick<Point, 'suite' | 'crowd' | 'scale'>[] = [
  { suite: 'direct', crowd: 'direct-64', scale: { ...RUNS, warmUpMs: 20_000 } },
  { suite: 'direct', crowd: 'direct-256', scale: { ...RUNS, warmUpMs: 10_000, inFlight: 256 } },
  { suite: 'direct', crowd: 'direct-512', scale: { ...RUNS, warmUpMs: 5_000, inFlight: 512 } },
  { suite: 'direct', crowd: 'direct-960', scale: { ...RUNS, warmUpMs: 5_000, inFlight: 960 } },
  { suite: 'batch', crowd: 'batch', scale: { ...RUNS, warmUpMs: 5_000 } },
]

/** All rows of the table. */
export function horizontalPoints(): Point[] {
  return [false, true].flatMap((cluster) =>
    [{}, TWO].flatMap((env) => LOADS.map((load) => ({ ...load, cluster, env }))),
  )
}

export function rowsOf(measured: readonly Measured[]): HorizontalRow[] {
  return measured.map(({ point: { crowd, cluster, env }, figures }) => ({
    load: crowd,
    shards: cluster ? SHARDS : 1,
    processes: env === TWO ? 2 : 1,
    run: figures.loads[0]!.shown,
    referenceNs: figures.referenceNs!,
  }))
}
