/** Two results side by side: what became dearer, slower or larger, as ratios of the new figure to the old one. */
import { flatten, type Measured } from './flatten.js'
import type { Report } from './report.js'
import { align } from './table.js'

const NOTHING = '-'

/** The ratios as lines of text: one table per kind of suite, a line for each load. */
export function renderComparison(before: Report, now: Report, oldName: string): string[] {
  const old = new Map(before.suites.flatMap(flatten).map((each) => [each.name, each]))
  const rows = now.suites.flatMap(flatten)
  const lines = [`\nRatios to ${oldName} (${before.at}): above 1 is more than then`]
  for (const difference of differences(before, now)) lines.push(`not the same: ${difference}`)
  const compared = rows.filter(({ name }) => old.has(name))
  for (const kind of new Set(compared.map((each) => each.kind))) {
    const ofKind = compared.filter((each) => each.kind === kind)
    const columns = [...new Set(ofKind.flatMap(({ values }) => Object.keys(values)))]
    lines.push(...align([[kind, ...columns], ...ofKind.map((row) => cellsOf(row, old.get(row.name)!, columns))]))
  }
  const missing = rows.filter(({ name }) => !old.has(name)).map(({ name }) => name)
  if (missing.length > 0) lines.push(`not in the old file: ${missing.join(', ')}`)
  return lines
}

/** New by old; nothing where there is no figure, or nothing to divide by. */
export function ratioOf(now: number | undefined, before: number | undefined): number | undefined {
  if (now === undefined || before === undefined) return undefined
  const ratio = now / before
  return Number.isFinite(ratio) ? ratio : undefined
}

function cellsOf(row: Measured, old: Measured, columns: readonly string[]): string[] {
  return [row.name, ...columns.map((column) => ratioOf(row.values[column], old.values[column])?.toFixed(2) ?? NOTHING)]
}

/** What makes two results incomparable, or nearly so. */
function differences(before: Report, now: Report): string[] {
  const then = before.machine
  const found: string[] = []
  for (const key of ['cpu', 'cores', 'node', 'redis', 'mysql', 'etcd'] as const) {
    const [was, is] = [then?.[key], now.machine?.[key]]
    if (was !== undefined && is !== undefined && was !== is) found.push(`${key} (${was}, now ${is})`)
  }
  if (before.quick !== now.quick) found.push(`--quick (${before.quick}, now ${now.quick})`)
  if (before.profiled !== now.profiled) found.push(`--profile (${before.profiled}, now ${now.profiled})`)
  const settings = (report: Report): string => report.settings?.toSorted().join(', ') || 'none'
  if (settings(before) !== settings(now)) found.push(`settings (${settings(before)}, now ${settings(now)})`)
  return found
}
