import { existsSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { checkout } from '@tidings/infra'
import t from 'tap'
import { prove } from '../src/main.js'
import { printSimulated, SIMULATORS, simulate } from '../src/simulators.js'

const say = (line: string): void => t.comment(line)

t.test('the three simulators are there, run as asked, and their verdict is the exit status', async (t) => {
  for (const { file } of SIMULATORS) t.ok(existsSync(join(checkout, file)), file)
  t.teardown(() => rmSync(join(checkout, '.tidings', `prove-${process.pid}`), { recursive: true, force: true }))
  t.equal(await prove(['--schedules', '20', '--seed', '7']), 0)
  const results = SIMULATORS.map(({ name }) => ({ name, schedules: 20, seed: 7, ms: 1_234 }))
  const lines: string[] = []
  printSimulated(results, { markdown: true, write: (line) => lines.push(line) })
  t.match(lines[2], /^\| cutover +\| 20 +\| 7 +\| 1\.2 s \| good +\|$/)
})

t.test('one that fails is told with its seed, also when it throws; the others run all the same', async (t) => {
  const folder = t.testdir({
    'tells.mjs': 'console.log("one: seed 3 failed: a hole")\nprocess.exitCode = 1',
    'throws.mjs': 'throw new Error("schedule with seed 5: twice")',
    'passes.mjs': '',
  })
  const simulators = ['tells', 'throws', 'passes', 'missing'].map((name) => ({
    name,
    file: relative(checkout, join(folder, `${name}.mjs`)),
  }))
  const results = await simulate({ schedules: 1, seed: 1, folder: join(folder, 'logs'), say }, simulators)
  t.match(results[0]!.fault, 'one: seed 3 failed: a hole')
  t.match(results[1]!.fault, /seed 5: twice/)
  t.equal(results[2]!.fault, undefined)
  t.ok(results[3]!.fault, 'a file that is not built')
})

t.test('an interrupt ends it', async (t) => {
  const folder = t.testdir({ 'endless.mjs': 'setInterval(() => undefined, 1_000)' })
  const endless = { name: 'endless', file: relative(checkout, join(folder, 'endless.mjs')) }
  const interrupt = new AbortController()
  const running = simulate({ schedules: 1, seed: 1, folder, say, signal: interrupt.signal }, [endless, endless])
  setImmediate(() => interrupt.abort())
  t.match(await running, [{ fault: 'interrupted' }, { fault: 'interrupted' }])
})
