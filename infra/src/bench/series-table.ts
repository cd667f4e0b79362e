/** The figures of the suites `growth` and `horizontal` for people. */
import { align, COLUMNS } from './columns.js'
import type { CurveFigures, HorizontalRow, PointFigures } from './figures.js'
import { speedsOf } from './speed.js'

const HEAD = [
  ...['messages/s', 'CPU us/message', ...COLUMNS, '(load)', 'p99 ms', 'others %'],
  ...['reference ns', 'at one speed'],
]

/** A curve as a table. */
export function renderCurve({ curve, axis, unit = 'message', points }: CurveFigures): string[] {
  const speeds = speedsOf(points)
  const rows = points.map((point, i) => [String(point.at), ...cellsOf(point, speeds[i]!)])
  const bytes = points.flatMap(({ at, entryBytes }) =>
    entryBytes
      ? [
          `  of ${at} entries each takes of Redis ${entryBytes.waiting.toFixed(0)} bytes until it is stored, then ${entryBytes.stored.toFixed(0)}; of MySQL ${entryBytes.mysql.toFixed(0)}`,
        ]
      : [],
  )
  return [`${curve}: what a ${unit} costs over ${axis}`, ...align([[curve, ...HEAD], ...rows]), ...bytes, '']
}

/** The table over shards and processes. */
export function renderHorizontal(rows: readonly HorizontalRow[]): string[] {
  const speeds = speedsOf(rows)
  const cells = rows.map((row, i) => [row.load, String(row.shards), String(row.processes), ...cellsOf(row, speeds[i]!)])
  return align([['horizontal', 'shards', 'of each app', ...HEAD], ...cells])
}

const cellsOf = ({ run, referenceNs }: PointFigures, speed: number): string[] => [
  run.perSecond.toFixed(0),
  run.cpuTotal.toFixed(1),
  ...COLUMNS.map((column) => (run.cpu[column] ?? 0).toFixed(1)),
  run.generatorCpu.toFixed(1),
  run.latency.p99.toFixed(1),
  run.othersPercent.toFixed(0),
  referenceNs.toFixed(0),
  (run.cpuTotal * speed).toFixed(1),
]
