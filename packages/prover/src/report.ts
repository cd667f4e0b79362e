/** The table of faults, for a terminal and as Markdown, and what was broken. */
import type { RunResult } from './run.js'

const SHOWN_VIOLATIONS = 40

interface TableRow {
  row: string
  name: string
  bit: string
  recovery: string
  bound: string
  sends: string
  verdict: string
}

export function tableOf({ verdict }: RunResult): TableRow[] {
  const { violations } = verdict
  return verdict.faults.map(({ row, name, bit, failure, recoveryMs, boundMs, sends }) => {
    const wrong = violations.some(({ rule, text }) => RUN_RULES.has(rule) && text.includes(`${row} ${name}`))
    return {
      row,
      name,
      bit: bit === undefined ? 'no' : 'yes',
      recovery: recoveryMs === undefined ? '-' : seconds(recoveryMs),
      bound: Number.isFinite(boundMs) ? seconds(boundMs) : '-',
      sends: `${sends.ok} / ${sends.unknown}`,
      verdict: failure ?? (wrong ? 'broken' : 'good'),
    }
  })
}

/** Rules whose breaches name a fault. */
const RUN_RULES = new Set(['bit', 'recovery', 'available'])
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
const HEADS = {
  row: 'row',
  name: 'fault',
  bit: 'bit',
  recovery: 'recovery',
  bound: 'bound',
  sends: 'ok / unknown',
  verdict: 'verdict',
}

export function print(result: RunResult, options: { markdown: boolean; write(line: string): void }): void {
  const { write } = options
  const { figures, violations } = result.verdict
  const rows = [HEADS, ...tableOf(result)].map((row) => Object.values(row))
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((cell, i) => cell.padEnd(widths[i]!))
    return options.markdown ? `| ${padded.join(' | ')} |` : padded.join('  ').trimEnd()
  }
  write(line(rows[0]!))
  if (options.markdown) write(`| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`)
  for (const row of rows.slice(1)) write(line(row))
  const { tried, accepted, refused, unknown, changes, pushes, changesRefused, shown, repeats, places, pages } = figures
  write('')
  write(
    `${tried} messages: ${accepted} accepted, ${refused} refused, ${unknown} unknown to the end; shown ${shown} times, ${repeats} repeats dropped; ${places} places and ${pages} pages compared`,
  )
  if (changes + pushes > 0) write(`${changes} changes and ${pushes} pushes accepted, ${changesRefused} refused`)
  for (const { rule, text } of violations.slice(0, SHOWN_VIOLATIONS)) write(`BROKEN ${rule}: ${text}`)
  if (violations.length > SHOWN_VIOLATIONS) write(`and ${violations.length - SHOWN_VIOLATIONS} more`)
  write(violations.length === 0 ? 'every promise was kept' : `${violations.length} breaches`)
  write(`history: ${result.history}`)
}
