/** The ratios of the inner loops that are kept in the repository, and what has become dearer since. */
import { join } from 'node:path'
import { checkout } from '../checkout.js'
import { reasonOf } from '../failure.js'
import { readJson, writeJson } from '../files.js'
import type { LoopFigures } from './micro-timing.js'

/** By the name of the loop. */
const RATIOS = join(checkout, 'infra/bench-ratios.json')
/** Dearer by more than this is told. */
const BOUND = 0.15

/** What is dearer than the stored ratios by more than 15 %, or has none, as lines for people. */
export function regressions(now: readonly LoopFigures[], stored: Readonly<Record<string, number>>): string[] {
  return now.flatMap(({ name, ratio }) => {
    const before = stored[name]
    if (before === undefined) return [`${name} has no stored ratio`]
    const more = ratio / before - 1
    return more > BOUND
      ? [
          `${name} costs ${ratio.toPrecision(3)} of the reference, stored are ${before.toPrecision(3)}: ${(more * 100).toFixed(0)} % more`,
        ]
      : []
  })
}

/** Prints a warning for each regression. Never fails: a ratio is a reason to look, not to stop. */
export function checkRatios(now: readonly LoopFigures[]): void {
  try {
    const warnings = regressions(now, (readJson(RATIOS) ?? {}) as Record<string, number>)
    for (const warning of warnings) console.log(`WARNING: ${warning}`)
    if (warnings.length === 0)
      console.log(`no inner loop is dearer by more than ${BOUND * 100} % than its stored ratio`)
  } catch (error) {
    console.log(`WARNING: ${reasonOf(error)}`)
  }
}

/** Keeps these ratios from now on. */
export function storeRatios(now: readonly LoopFigures[]): void {
  writeJson(RATIOS, Object.fromEntries(now.map(({ name, ratio }) => [name, Number(ratio.toPrecision(4))])), 0o644)
}
