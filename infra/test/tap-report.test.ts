import t from 'tap'
import { failures, totals, withoutTests } from '../src/tap-report.js'

const REPORT = `TAP version 14
1..2
# Subtest: packages/one/dist/test/one.test.js
    # Subtest: first
        not ok 1 - one
          ---
          diff: |
            --- expected
            +++ actual
            not ok 9 - a line of a difference
          ...
        
        ok 2 - fine
        1..2
    not ok 1 - first # time=63.7ms
      ---
      at:
        lineNumber: 2
      ...
    
    ok 2 - second
    not ok 3 - later # TODO
    1..3
not ok 1 - packages/one/dist/test/one.test.js # time=85.6ms

ok 2 - packages/one/dist/test/two.test.js # time=2ms

# { total: 5, pass: 2, fail: 2, todo: 1 }
# time=2512.465ms`

t.test('the totals are the last word of the run', async (t) => {
  t.strictSame(totals(REPORT), { passed: 2, failed: 2 })
  t.strictSame(totals('TAP version 14\nok 1'), { passed: 0, failed: 0 }, 'a run that was cut off')
})

t.test('failures come with their details and what is around them, and nothing else does', async (t) => {
  const lines = failures(REPORT)
  t.strictSame(
    lines.filter((line) => /^ *not ok/.test(line)).map((line) => line.trim()),
    [
      'not ok 1 - one',
      'not ok 9 - a line of a difference',
      'not ok 1 - first # time=63.7ms',
      'not ok 1 - packages/one/dist/test/one.test.js # time=85.6ms',
    ],
  )
  t.equal(lines.length, 13)
  t.notMatch(lines.join('\n'), /fine|second|later|two\.test/)
  t.strictSame(failures(REPORT, 3), lines.slice(0, 3), 'no more than asked for')
  t.strictSame(failures('TAP version 14\nok 1 - all well'), [])
})

t.test('a file that asserted nothing is named, one that says why it is skipped is not', async (t) => {
  const report = `# Subtest: one.test.js
    ok 1 - later # SKIP no tests found
    1..1
ok 1 - one.test.js # time=1ms
ok 2 - infra/dist/test/two.test.js # SKIP no tests found
ok 3 - three.test.js # SKIP not on this machine`
  t.strictSame(withoutTests(report), ['infra/dist/test/two.test.js'])
})
