/**
 * The start of every command, in plain JavaScript: it must work in a clone where nothing is installed or built yet.
 * Checks Node, installs, builds, and hands over to infra/dist/src/cli.js in this same process, so that signals arrive.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const checkout = join(dirname(fileURLToPath(import.meta.url)), '..')
const cli = join(checkout, 'infra/dist/src/cli.js')
/** Written behind each whole build. */
const built = join(checkout, 'infra/dist/.built')
const compiler = join(checkout, 'node_modules/typescript/bin/tsc')
const command = process.argv[2] ?? ''

/**
 * These must answer at once, and while someone is in the middle of a change: what is there, installed and built, is good enough. They look
 * at an instance that runs, too: an installation would take its packages away under it.
 */
const QUICK = new Set(['status', 'stop', 'listen', 'admin'])
/** These need the runner alone. */
const RUNNER_ONLY = new Set(['status', 'stop', 'listen', 'admin', 'stores', 'doctor'])

// Whoever read what we say may be gone (npm start | head): that ends nothing.
for (const out of [process.stdout, process.stderr]) out.on('error', () => undefined)
process.chdir(checkout)
checkNode()
await install()
if (command === 'install') process.exit()
await build()
if (command === 'build') process.exit()
await import(pathToFileURL(cli).href)

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  fail(
    `Tidings needs Node.js 20.19 or newer, and this is ${process.versions.node} (${process.execPath}): install Node.js 20 and run the command again.`,
  )
}

/** npm writes node_modules/.package-lock.json last: it is absent after a broken install, and older than a changed lock file. */
async function install() {
  const done = modified('node_modules/.package-lock.json')
  if (done !== 0 && QUICK.has(command) && existsSync(cli)) return
  if (done !== 0 && existsSync(compiler) && (done >= modified('package-lock.json') || isSame())) return
  progress('installing dependencies (npm ci)')
  // Our standard output may be read by a program (status prints JSON): npm reports on the error output.
  // The compiler is a devDependency, which npm leaves out where NODE_ENV is production.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const npm = await run('npm', args, ['ignore', 2, 2])
  if (npm.error) fail('npm cannot be started: install npm (it comes with Node.js) and run the command again.')
  if (npm.status !== 0)
    fail('npm ci failed, see above: check the network and the free disk space, and run the command again.')
}

/** A checkout or a copy gives the lock file a new date: what counts is whether the packages are those it names. */
function isSame() {
  const installed = packagesIn('node_modules/.package-lock.json')
  return Object.entries(packagesIn('package-lock.json')).every(([path, wanted]) => {
    if (!path.includes('node_modules/') || wanted.optional) return true
    const found = installed[path]
    // A package of our own is a link, without a version.
    if (wanted.link) return found?.link === true && found.resolved === wanted.resolved
    return found?.version === wanted.version && found?.integrity === wanted.integrity
  })
}

function packagesIn(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages ?? {}
  } catch {
    // A file cut short by a full disk or a kill: install again.
    return {}
  }
}

async function build() {
  if (QUICK.has(command) && existsSync(cli)) return
  const runnerOnly = RUNNER_ONLY.has(command)
  if (isBuilt()) return
  if (!existsSync(cli) || !runnerOnly) progress('building')
  const began = Date.now() / 1_000
  // One compiler for all packages: one process for each of them, as turbo starts them, takes more than twice as long.
  const args = [compiler, '-b', ...(runnerOnly ? ['infra'] : [])]
  const done = await run(process.execPath, args, ['ignore', 'pipe', 'pipe'])
  if (done.error || done.status !== 0) {
    process.stderr.write(done.output)
    fail('The build failed, see above.')
  }
  if (runnerOnly) return
  writeFileSync(built, '')
  // What is edited while it is being built is newer.
  utimesSync(built, began, began)
}

/** Nothing is newer than the last whole build: the compiler would find the same, and needs half a second for it. */
function isBuilt() {
  const at = modified(built)
  if (at === 0 || at < modified('tsconfig.base.json') || at < modified('node_modules/.package-lock.json')) return false
  const packages = ['migrations', 'infra', ...['apps', 'packages'].flatMap((group) => within(group))]
  return packages.every(
    (folder) =>
      existsSync(join(folder, 'dist')) &&
      ['package.json', 'tsconfig.json', 'src', 'test'].every((part) => isOlder(join(folder, part), at)),
  )
}

/** @returns is it, with all that is below it, or is it not there? A folder is as new as what was last put in or taken out. */
function isOlder(path, at) {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found) return true
  if (found.mtimeMs >= at) return false
  return !found.isDirectory() || within(path).every((each) => isOlder(each, at))
}

function within(folder) {
  return readdirSync(folder).map((name) => join(folder, name))
}

/** Runs a step. A signal for us ends the step as well: nothing goes on behind the back of whoever stopped us. */
function run(file, args, stdio) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio })
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    const stop = (signal) => {
      child.kill(signal)
      process.exit(1)
    }
    for (const signal of signals) process.on(signal, stop)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk))
    child.once('error', (error) => resolve({ error, output }))
    child.once('close', (status) => {
      for (const signal of signals) process.off(signal, stop)
      resolve({ status, output })
    })
  })
}

function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0
}

function progress(step) {
  process.stderr.write(`tidings: ${step}\n`)
}

function fail(sentence) {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}
