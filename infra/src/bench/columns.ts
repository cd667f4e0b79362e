/** What all tables share. */

/** The processes in the order of a message's way. */
export const COLUMNS = ['api', 'logic', 'task', 'connect', 'redis', 'mysql', 'etcd'] as const

/** Columns of the same width, the first to the left. */
export function align(rows: readonly string[][]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  )
}
