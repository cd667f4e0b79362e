/** `npm test`: every compiled test of the checkout, once, against stores of its own. */
import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { checkout } from './checkout.js'
import { codeOf, Failure } from './failure.js'
import { identify } from './process.js'
import { startStores, type TestStores } from './stores.js'
import { failures, totals, withoutTests } from './tap-report.js'

const say = (line: string): void => console.error(`tidings test: ${line}`)

/** Folders whose packages hold compiled tests, and packages that stand alone. */
const GROUPS = ['apps', 'packages']
const SINGLE = ['migrations', 'infra']
const SECOND_SIGNAL_MS = 500

/**
 * Runs the tests.
 * @param args parts of paths: only test files that contain one of them run; what begins with `-` is for tap
 * @returns the exit status: 0 when at least one test ran and none failed
 */
export async function test(args: string[]): Promise<number> {
  const wanted = args.filter((arg) => !arg.startsWith('-'))
  const files = testFiles().filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  if (files.length === 0) {
    console.log(`No test file matches ${wanted.join(', ') || 'dist/test/**/*.test.js'}.`)
    console.log('0 passed, 0 failed')
    return 1
  }
  const folder = join(checkout, '.tidings', `test-${process.pid}`)
  return withStores(folder, async (stores, interrupts) => {
    const report = join(folder, 'report.tap')
    mkdirSync(folder, { recursive: true })
    const exitCode = await runTap(
      files,
      args.filter((arg) => arg.startsWith('-')),
      report,
      stores.env,
      interrupts,
    )
    const text = read(report)
    const { passed, failed } = totals(text)
    const bad = failures(text)
    // Who keeps only the end of a long report finds the reason there.
    if (bad.length > 0) console.log(['', 'What failed, once more:', ...bad, ''].join('\n'))
    const empty = withoutTests(text)
    for (const file of empty) console.log(`${file} holds no test: it asserted nothing`)
    const good = exitCode === 0 && failed === 0 && empty.length === 0 && passed > 0
    // A run that tap calls bad without a failed assertion: a file that crashed or ran too long.
    console.log(`${passed} passed, ${good ? 0 : Math.max(failed + empty.length, 1)} failed`)
    return good ? 0 : 1
  })
}

/** `stores`: the tests' stores in the foreground, for running single test files by hand. */
export async function holdStores(): Promise<number> {
  const file = join(checkout, '.tidings/stores.env')
  const folder = join(checkout, '.tidings', `test-${process.pid}`)
  return withStores(folder, async (stores, { first }) => {
    const lines = Object.entries(stores.env).map(([name, value]) => `export ${name}=${value}`)
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
    console.log(lines.join('\n'))
    say(
      `the stores run; in another shell: . .tidings/stores.env && node <package>/dist/test/<name>.test.js   (Ctrl-C ends them)`,
    )
    const alive = setInterval(() => undefined, 60_000)
    await new Promise<void>((resolve) => first.addEventListener('abort', () => resolve(), { once: true }))
    clearInterval(alive)
    rmSync(file, { force: true })
    return 0
  })
}

async function withStores(
  folder: string,
  use: (stores: TestStores, interrupts: Interrupts) => Promise<number>,
): Promise<number> {
  const interrupts = watchInterrupts()
  removeLeftovers(dirname(folder))
  const stores = await startStores(folder, say)
  try {
    // The stores take a while: whoever has had enough by now wants no tests.
    return interrupts.first.aborted ? 1 : await use(stores, interrupts)
  } finally {
    await stores.stop()
  }
}

/** SIGINT, SIGTERM or SIGHUP: the first one, and one more. */
interface Interrupts {
  first: AbortSignal
  second: AbortSignal
}

function watchInterrupts(): Interrupts {
  const first = new AbortController()
  const second = new AbortController()
  let firstAt = 0
  const interrupt = (): void => {
    firstAt ||= Date.now()
    first.abort()
    // npm passes on what the terminal has sent already: the same signal twice at once is one wish.
    if (Date.now() - firstAt >= SECOND_SIGNAL_MS) second.abort()
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, interrupt)
  return { first: first.signal, second: second.signal }
}

/** A run that was killed leaves its stores' data behind. */
function removeLeftovers(parent: string): void {
  for (const name of list(parent)) {
    const pid = /^test-(\d+)$/.exec(name)?.[1]
    if (pid !== undefined && !identify(Number(pid)))
      rmSync(join(parent, name), { recursive: true, force: true, maxRetries: 3 })
  }
}

/** The compiled tests of every package, those without a source any more left out. */
function testFiles(): string[] {
  const packages = [
    ...GROUPS.flatMap((group) => list(join(checkout, group)).map((name) => join(checkout, group, name))),
    ...SINGLE.map((name) => join(checkout, name)),
  ]
  return packages
    .flatMap((folder) =>
      list(join(folder, 'dist/test'), true)
        .filter((file) => file.endsWith('.test.js'))
        .filter((file) => list(join(folder, 'test'), true).includes(file.replace(/\.js$/, '.ts')))
        .map((file) => relative(checkout, join(folder, 'dist/test', file))),
    )
    .sort()
}

function list(folder: string, recursive = false): string[] {
  try {
    return readdirSync(folder, { recursive }).map(String)
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return []
    throw error
  }
}

/** One run of tap over all files; what it prints is passed through, the plain report goes to a file as well. */
async function runTap(
  files: string[],
  options: string[],
  report: string,
  stores: TestStores['env'],
  { first, second }: Interrupts,
): Promise<number> {
  // The settings of whoever runs the tests are not the tests': only the stores are given.
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDINGS_')))
  const tap = join(checkout, 'node_modules/.bin/tap')
  const terminal = process.stdout.isTTY
  // Without a terminal tap prints the plain report itself, and would print it twice if asked for a file as well.
  const args = terminal ? [`--output-file=${report}`] : ['--reporter=tap']
  const child = spawn(process.execPath, [tap, 'run', ...args, ...options, ...files], {
    cwd: checkout,
    stdio: ['ignore', terminal ? 'inherit' : 'pipe', 'inherit'],
    env: { ...inherited, ...stores },
  })
  const copied = child.stdout ? copy(child.stdout, report) : Promise.resolve()
  first.addEventListener('abort', () => void child.kill('SIGTERM'), { once: true })
  second.addEventListener('abort', () => void child.kill('SIGKILL'), { once: true })
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(new Failure('tap cannot be started: run npm ci.', { cause })))
    child.once('exit', (code) => copied.then(() => resolve(code ?? 1), reject))
  })
}

/** Passes the report on and keeps a copy to count from. */
async function copy(output: Readable, report: string): Promise<void> {
  const file = createWriteStream(report)
  for await (const chunk of output) {
    process.stdout.write(chunk)
    file.write(chunk)
  }
  file.end()
  await finished(file)
}

function read(report: string): string {
  try {
    return readFileSync(report, 'utf8')
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    return ''
  }
}
