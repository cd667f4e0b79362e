import { existsSync, mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { rotateLogs } from '../src/logs.js'
import { folder } from './world.js'

const GROWN = 33 * 1024 * 1024

test('a log that has grown too long is set aside, and one that cannot be keeps no other from it', async (t) => {
  const dir = folder(t)
  for (const name of ['a.log', 'b.log']) {
    writeFileSync(join(dir, name), '')
    truncateSync(join(dir, name), GROWN)
  }
  mkdirSync(join(dir, 'a.log.1'))
  rotateLogs(dir)()
  t.equal(statSync(join(dir, 'a.log')).size, GROWN)
  t.equal(statSync(join(dir, 'b.log')).size, 0)
  t.ok(existsSync(join(dir, 'b.log.1')))
})

test('logs whose folder has been removed end nobody', async (t) => {
  t.doesNotThrow(() => rotateLogs(join(folder(t), 'gone'))())
})
