/** What the tests of the runner build for themselves. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

/** A folder that is removed with the test. */
export function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'tidings-infra-'))
  // Open to the stores' account, or their data would go to a folder of the system that nobody removes.
  chmodSync(path, 0o755)
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A port that someone listens on. */
export async function takenPort(t: Test): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise<void>((resolve) => server.close(() => resolve())))
  return (server.address() as { port: number }).port
}

/** A process that does nothing, ended with the test. */
export function idleProcess(t: Test): ChildProcess & { pid: number } {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  if (child.pid === undefined) throw new Error('the process did not start')
  return child as ChildProcess & { pid: number }
}

/** Waits for a fact. */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  ms = 20_000,
): Promise<T> {
  const deadline = Date.now() + ms
  for (;;) {
    const found = await check()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await sleep(20)
  }
}

/** How a command of the runner ended. */
export interface Finished {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a command of the runner to its end, with these settings and no others. */
export async function command(args: string[], settings: Record<string, string>): Promise<Finished> {
  const child = spawnCommand(args, settings)
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk) => {
    stdout += String(chunk)
  })
  child.stderr?.on('data', (chunk) => {
    stderr += String(chunk)
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })))
}

/** Starts a command of the runner. */
export function spawnCommand(args: string[], settings: Record<string, string>): ChildProcess {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDINGS_')))
  return spawn(process.execPath, [join(import.meta.dirname, '../src/cli.js'), ...args], {
    env: { ...inherited, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
