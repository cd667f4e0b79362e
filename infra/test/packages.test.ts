import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'tap'
import { storeAccount } from '../src/account.js'
import { packagesFolder, tidyUp } from '../src/packages.js'
import { folder } from './world.js'

test('what a killed fetch left goes, and the programs that it had moved aside are put back', async (t) => {
  const dir = folder(t)
  const pkgs = join(dir, 'pkgs')
  for (const name of ['pkgs.1.new', 'pkgs.1.old', 'pkgs.22.new', 'other.new']) {
    mkdirSync(join(dir, name))
    writeFileSync(join(dir, name, 'file'), name)
  }
  tidyUp(pkgs)
  t.same(readdirSync(dir).sort(), ['other.new', 'pkgs'])
  t.equal(readFileSync(join(pkgs, 'file'), 'utf8'), 'pkgs.1.old')
  mkdirSync(join(dir, 'pkgs.3.old'))
  tidyUp(pkgs)
  t.same(readdirSync(dir).sort(), ['other.new', 'pkgs'], 'it was replaced already')
})

test('a checkout where no folder can be made is refused in one sentence', async (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, '.tidings'), '')
  t.throws(() => packagesFolder(dir), {
    name: 'Failure',
    message: /\.tidings, .* cannot be made: .* a file: move it away/,
  })
})

test('the account of the stores gets at their programs under any umask', async (t) => {
  const dir = folder(t)
  chmodSync(dir, 0o700)
  const umask = process.umask(0o077)
  t.teardown(() => process.umask(umask))
  const outside = dirname(packagesFolder(dir))
  if (!storeAccount()) {
    t.equal(outside, join(dir, '.tidings'), 'the stores run under our own account')
    return
  }
  t.teardown(() => rmSync(outside, { recursive: true, force: true }))
  t.notOk(outside.startsWith(dir))
  t.ok(existsSync(outside))
  t.equal(statSync(outside).mode & 0o777, 0o755)
})
