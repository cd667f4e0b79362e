import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { checkout } from '@tidings/infra'
import t from 'tap'
import { LAST_FIELD } from '../src/faults/versions.js'
import { BUGS, FAULTS, RULES } from '../src/index.js'
import { applyRewrites, rewriteArgs } from '../src/rewrite/rewrite.js'

t.test('a module is loaded with its change, in that process alone', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-rewrite-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const main = join(folder, 'main.mjs')
  writeFileSync(join(folder, 'said.mjs'), `export const said = 'as it is'\n`)
  writeFileSync(main, `import { said } from './said.mjs'\nprocess.stdout.write(said)\n`)
  const module = pathToFileURL(join(folder, 'said.mjs')).href
  const args = rewriteArgs([{ module, find: 'as it is', replace: 'changed' }])
  t.equal(execFileSync(process.execPath, [...args, main], { encoding: 'utf8' }), 'changed')
  t.equal(execFileSync(process.execPath, [main], { encoding: 'utf8' }), 'as it is')
  t.throws(() => applyRewrites([{ module, find: 'not there', replace: '' }]), /0 places/)
  t.throws(() => applyRewrites([{ module, find: 's', replace: '' }]), /places/, 'nor where it might be another place')
})

t.test('every failpoint and every bug finds its place in the compiled code', async (t) => {
  for (const { name, rewrites } of BUGS) t.ok(Object.keys(applyRewrites(rewrites)).length > 0, name)
  for (const { name, rewrites } of FAULTS)
    for (const [app, changes] of Object.entries(rewrites?.('/tmp') ?? {}))
      t.ok(Object.keys(applyRewrites(changes)).length > 0, `${name} in ${app}`)
})

t.test('what another version would write differently is written in append.lua', async (t) => {
  const script = readFileSync(join(checkout, 'packages/stream/src/append.lua'), 'utf8')
  t.equal(script.split(LAST_FIELD).length, 2)
})

t.test('a row is named once', async (t) => {
  t.equal(new Set(FAULTS.map(({ row }) => row)).size, FAULTS.length)
})

t.test('each bug names the rules that have to see it', async (t) => {
  const rules = RULES.map(({ name }) => name)
  for (const bug of BUGS) t.ok(bug.rules.length > 0 && bug.rules.every((rule) => rules.includes(rule)), bug.name)
})
