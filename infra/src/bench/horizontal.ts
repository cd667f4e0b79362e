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

/** All rows of the table. */
export function horizontalPoints(): Point[] {
  return [false, true].flatMap((cluster) =>
    [{}, TWO].flatMap((env) => (['direct', 'batch'] as const).map((suite) => ({ suite, crowd: suite, cluster, env }))),
  )
}

export function rowsOf(measured: readonly Measured[]): HorizontalRow[] {
  return measured.map(({ point: { suite, cluster, env }, figures }) => ({
    suite,
    shards: cluster ? SHARDS : 1,
    processes: env === TWO ? 2 : 1,
    run: figures.loads[0]!.shown,
    referenceNs: figures.referenceNs!,
  }))
}
