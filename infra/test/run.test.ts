import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Test, test } from 'tap'
import { folder } from './world.js'

const PACKAGES = {
  infra: { name: '@tidings/infra', version: '0.1.0' },
  'node_modules/@tidings/infra': { resolved: 'infra', link: true },
  'node_modules/typescript': { version: '6.0.3', integrity: 'sha512-a' },
}
const CLI = 'infra/dist/src/cli.js'
const COMPILER = 'node_modules/typescript/bin/tsc'
const INSTALLED = 'node_modules/.package-lock.json'

/** A checkout with everything installed and built, a lock file that is newer, and an npm that only notes how it was called. */
function checkout(t: Test, installed: object = PACKAGES) {
  const dir = folder(t)
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), text, { mode: 0o755 })
  }
  mkdirSync(join(dir, 'infra'))
  copyFileSync(join(import.meta.dirname, '../../run.mjs'), join(dir, 'infra/run.mjs'))
  write('package.json', '{"type":"module"}')
  write('package-lock.json', JSON.stringify({ packages: PACKAGES }))
  write(INSTALLED, JSON.stringify({ packages: installed }))
  write(COMPILER, "require('node:fs').appendFileSync('tsc.calls', 'x')")
  for (const one of ['apps/one', 'packages/two', 'migrations', 'infra']) {
    write(`${one}/src/code.ts`, '')
    mkdirSync(join(dir, one, 'dist'), { recursive: true })
  }
  write(CLI, "console.log('the command')")
  write('bin/npm', '#!/bin/sh\necho "$*" >> npm.calls\n')
  utimesSync(join(dir, INSTALLED), 1, 1)
  const run = (command: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const env = { ...process.env, PATH: `${join(dir, 'bin')}:${process.env.PATH}` }
      execFile(process.execPath, [join(dir, 'infra/run.mjs'), command], { env }, (error, stdout) =>
        error ? reject(error) : resolve(stdout),
      )
    })
  return {
    run,
    write,
    builds: () => (existsSync(join(dir, 'tsc.calls')) ? readFileSync(join(dir, 'tsc.calls'), 'utf8').length : 0),
    remove: (path: string) => rmSync(join(dir, path)),
    npmCalls: () => (existsSync(join(dir, 'npm.calls')) ? readFileSync(join(dir, 'npm.calls'), 'utf8') : ''),
  }
}

test('a lock file that is newer and names the same packages installs nothing', async (t) => {
  const { run, npmCalls } = checkout(t)
  t.equal(await run('test'), 'the command\n')
  t.equal(npmCalls(), '')
})

test('what was built is built again when something is newer, new, or gone', async (t) => {
  const { run, builds, write, remove } = checkout(t)
  await run('test')
  t.equal(builds(), 1)
  await run('test')
  t.equal(builds(), 1, 'all is as it was')
  const steps: [string, () => void][] = [
    ['newer', () => write('apps/one/src/code.ts', 'changed')],
    ['new', () => write('packages/two/test/deep/new.ts', '')],
    ['gone', () => remove('packages/two/test/deep/new.ts')],
    ['newly installed', () => write(INSTALLED, JSON.stringify({ packages: PACKAGES }))],
  ]
  for (const [i, [what, step]] of steps.entries()) {
    step()
    await run('test')
    t.equal(builds(), i + 2, what)
    await run('test')
    t.equal(builds(), i + 2, `${what}, and built`)
  }
})

test('a package of our own that is not linked is installed', async (t) => {
  const { 'node_modules/@tidings/infra': link, ...rest } = PACKAGES
  for (const installed of [rest, { ...rest, 'node_modules/@tidings/infra': { ...link, resolved: 'packages/infra' } }]) {
    const { run, npmCalls } = checkout(t, installed)
    await run('test')
    t.match(npmCalls(), /^ci /)
  }
})

test('an installation without a compiler is none, and the compiler comes along whatever the environment says', async (t) => {
  const { run, remove, npmCalls } = checkout(t)
  remove(COMPILER)
  await t.rejects(run('test'), 'the npm of this test installs none')
  t.match(npmCalls(), /^ci .*--include=dev/)
})

test('what looks at an instance that runs installs nothing under it', async (t) => {
  const { run, remove, npmCalls } = checkout(t, {})
  for (const command of ['stop', 'status', 'listen', 'admin']) t.equal(await run(command), 'the command\n', command)
  t.equal(npmCalls(), '')
  remove(INSTALLED)
  await run('status')
  t.match(npmCalls(), /^ci /, 'where nothing is installed there is no other way')
})
