import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { checkout } from '../src/checkout.js'
import { spawnCommand, until } from './world.js'

test('a signal while the stores start ends the run before any test; what killed runs left is removed', async (t) => {
  // No process has this number: it is beyond what Linux gives.
  const leftover = join(checkout, '.tidings/test-4194305')
  mkdirSync(leftover, { recursive: true })
  t.teardown(() => rmSync(leftover, { recursive: true, force: true }))
  const run = spawnCommand(['test', 'infra/dist/test/ports.test.js'], {})
  const ended = new Promise((resolve) => run.once('close', resolve))
  let output = ''
  for (const stream of [run.stdout, run.stderr])
    stream?.on('data', (chunk) => {
      output += String(chunk)
    })
  await until('the stores start', () => output.includes('starting Redis'))
  run.kill('SIGTERM')
  t.equal(await ended, 1)
  t.notMatch(output, /TAP version|passed/)
  t.notOk(existsSync(leftover))
  t.notOk(existsSync(join(checkout, `.tidings/test-${run.pid}`)))
})
