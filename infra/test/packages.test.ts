import { chmodSync, existsSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { test } from 'tap'
import { storeAccount } from '../src/account.js'
import { packagesFolder } from '../src/packages.js'
import { folder } from './world.js'

const asUs = !storeAccount() && 'the stores run under our own account'
test('the account of the stores gets at their programs under any umask', { skip: asUs }, async (t) => {
  const dir = folder(t)
  chmodSync(dir, 0o700)
  const umask = process.umask(0o077)
  t.teardown(() => process.umask(umask))
  const outside = dirname(packagesFolder(dir))
  t.teardown(() => rmSync(outside, { recursive: true, force: true }))
  t.notOk(outside.startsWith(dir))
  t.ok(existsSync(outside))
  t.equal(statSync(outside).mode & 0o777, 0o755)
})
