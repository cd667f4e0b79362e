import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { checkout } from '../src/checkout.js'
import { spawnCommand, until } from './world.js'

test('a signal while the stores start ends the run before any test', async (t) => {
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
  t.notOk(existsSync(join(checkout, `.tidings/test-${run.pid}`)))
})
