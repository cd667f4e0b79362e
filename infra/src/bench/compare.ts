/** Two results side by side: what became dearer, slower or larger, as ratios of the new figure to the old one. */

import { align } from './columns.js'
import { flatten, type Measured } from './flatten.js'
import type { Report } from './report.js'

const NOTHING = '-'

/** The ratios as lines of text: one table per kind of suite, a line for each load. */
export function renderComparison(before: Report, now: Report, oldName: string): string[] {
  const old = new Map(before.suites.flatMap(flatten).map((each) => [each.name, each.values]))
  const lines = [`\nRatios to ${oldName} (${before.at}): above 1 is more than then`]
  for (const difference of differences(before, now)) lines.push(`not the same: ${difference}`)
  const compared = now.suites
    .flatMap(flatten)
    .map((each) => ({ ...each, values: ratios(each.values, old.get(each.name)) }))
    .filter(({ values }) => Object.keys(values).length > 0)
  for (const kind of new Set(compared.map((each) => each.kind))) {
    const ofKind = compared.filter((each) => each.kind === kind)
    const columns = [...new Set(ofKind.flatMap(({ values }) => Object.keys(values)))]
    const rows = ofKind.map(({ name, values }) => [name, ...columns.map((column) => values[column] ?? NOTHING)])
    lines.push(...align([[kind, ...columns], ...rows]))
  }
  const missing = now.suites.filter(({ suite }) => !before.suites.some((each) => each.suite === suite))
  if (missing.length > 0) lines.push(`not in the old file: ${missing.map(({ suite }) => suite).join(', ')}`)
  return lines
}

/** New by old; nothing where there is no figure, or nothing to divide by. */
export function ratioOf(now: number | undefined, before: number | undefined): number | undefined {
  if (now === undefined || before === undefined) return undefined
  const ratio = now / before
  return Number.isFinite(ratio) ? ratio : undefined
}

/** Of all that both have; empty where there is nothing to compare with. */
function ratios(now: Measured['values'], before: Measured['values'] = {}): Record<string, string> {
  return Object.fromEntries(
    Object.entries(now).flatMap(([column, value]) => {
      const ratio = ratioOf(value, before[column])
      return ratio === undefined ? [] : [[column, ratio.toFixed(2)]]
    }),
  )
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
