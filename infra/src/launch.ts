/** Starts one process with its output in a log file. */
import { type SpawnOptions, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Account } from './account.js'
import { Failure, reasonOf } from './failure.js'
import { sizeOf, tail } from './files.js'
import { type Identity, identify } from './process.js'

/** What to run. */
export interface Command {
  file: string
  args: readonly string[]
  env: NodeJS.ProcessEnv
  cwd: string
  account?: Account | undefined
}

/** How a process ended. */
export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

/** A process that has been started. */
export interface Running {
  who: Identity
  /** Resolves when it has ended, however. */
  exited: Promise<Exit>
  /** What it has written since it was started, the last lines of it. */
  lastLines(count: number): string[]
}

/** Not on Debian only: wherever util-linux is. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))

/**
 * Starts a process. Its output goes to a file and not through a pipe: it must be able to write when we are gone.
 * @param options `tied`: it is killed when we die, however we die (where the system can do that). Otherwise it gets a
 *   process group of its own, so that a Ctrl-C in the terminal reaches us alone and the order of the stop is ours.
 *   `visible`: it writes to our own output instead of the file.
 */
export function launch(
  command: Command,
  log: string,
  options: { tied?: boolean; visible?: boolean } = {},
): Promise<Running> {
  const from = sizeOf(log)
  // Whoever removes the logs of an instance that runs must not keep it from restarting what dies.
  mkdirSync(dirname(log), { recursive: true, mode: 0o700 })
  const file = openSync(log, 'a', 0o600)
  const ties = options.tied === true && SETPRIV !== undefined
  const [program, args] = ties
    ? [SETPRIV!, ['--pdeathsig', 'KILL', command.file, ...command.args]]
    : [command.file, command.args]
  const spawnOptions: SpawnOptions = {
    cwd: command.cwd,
    env: command.env,
    detached: options.tied !== true,
    stdio: options.visible ? ['ignore', 'inherit', 'inherit'] : ['ignore', file, file],
    ...(command.account ? { uid: command.account.uid, gid: command.account.gid } : {}),
  }
  try {
    const child = spawn(program, args, spawnOptions)
    const exited = new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
    return new Promise((resolve, reject) => {
      child.once('error', (cause) =>
        reject(new Failure(`${command.file} cannot be started: ${reasonOf(cause)}.`, { cause })),
      )
      child.once('spawn', () => {
        const pid = child.pid!
        // Gone already: an identity that no process has. Its exit is reported like any other.
        const who = identify(pid) ?? { pid, start: 'gone' }
        resolve({ who, exited, lastLines: (count) => tail(log, count, from) })
      })
    })
  } finally {
    closeSync(file)
  }
}
