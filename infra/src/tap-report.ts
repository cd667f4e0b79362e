/** What a run of tap has reported: TAP 14, https://testanything.org/tap-version-14-specification.html. */

/**
 * @param report of a whole run, whose last word is `# { total: 11, pass: 10, fail: 1 }`
 * @returns how many assertions passed and failed; both 0 when the run did not come to its end
 */
export function totals(report: string): { passed: number; failed: number } {
  const line = [...report.matchAll(/^# \{ total: \d+.*\}$/gm)].at(-1)?.[0] ?? ''
  const count = (word: string): number => Number(new RegExp(`\\b${word}: (\\d+)`).exec(line)?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail') }
}

/**
 * @param most lines in all
 * @returns the lines that tell of failures: each assertion with what was found and expected, then the tests and the file around it
 */
export function failures(report: string, most = 200): string[] {
  const found: string[] = []
  let place: 'elsewhere' | 'behind' | 'details' = 'elsewhere'
  for (const line of report.split('\n')) {
    if (place !== 'details' && /^ *not ok\b(?!.*# (?:TODO|SKIP)\b)/i.test(line)) place = 'behind'
    else if (place === 'behind') place = /^ *---$/.test(line) ? 'details' : 'elsewhere'
    if (place !== 'elsewhere') found.push(line)
    if (place === 'details' && /^ *\.\.\.$/.test(line)) place = 'elsewhere'
    if (found.length === most) break
  }
  return found
}

/** @returns the test files that asserted nothing: to tap they are skipped, and a run of such files alone is a good one */
export function withoutTests(report: string): string[] {
  return [...report.matchAll(/^ok \d+ - (.+) # SKIP no tests found$/gm)].map((match) => match[1]!)
}
