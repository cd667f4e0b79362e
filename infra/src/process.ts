/** Other processes: who they are beyond their pid, whether they still run, and how to end them. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf } from './failure.js'

/** A process that cannot be confused with a later one of the same pid. */
export interface Identity {
  pid: number
  /** When it started: clock ticks since boot with the boot's id, or what `ps` says where there is no /proc. */
  start: string
}

/** Who has this pid now; nothing when no process has it (a zombie counts as none: it does no work and holds no port). */
export function identify(pid: number): Identity | undefined {
  if (process.platform === 'linux') {
    let stat: string
    try {
      stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return undefined
      throw error
    }
    // The name in parentheses may hold blanks and parentheses itself: count from the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return { pid, start: `${fields[19]}@${bootId()}` }
  }
  try {
    const [state, ...start] = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(/\s+/)
    return !state || state.startsWith('Z') ? undefined : { pid, start: start.join(' ') }
  } catch {
    // ps exits with 1 when there is no such process.
    return undefined
  }
}

let boot: string | undefined
function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return boot
}

/** Does this very process still run? */
export function isRunning(who: Identity): boolean {
  return identify(who.pid)?.start === who.start
}

/** Sends a signal, to this very process only. Answers whether there was one to receive it. */
export function signal(who: Identity, name: NodeJS.Signals): boolean {
  if (!isRunning(who)) return false
  try {
    process.kill(who.pid, name)
    return true
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false
    throw error
  }
}

/** SIGTERM, a bounded wait, then SIGKILL. Resolves when the process is gone, with how it went. */
export async function end(
  who: Identity,
  graceMs: number,
  first: NodeJS.Signals = 'SIGTERM',
): Promise<'gone' | 'ended' | 'killed'> {
  if (!signal(who, first)) return 'gone'
  if (await goneWithin(who, graceMs)) return 'ended'
  signal(who, 'SIGKILL')
  await goneWithin(who, 5_000)
  return 'killed'
}

/** Waits until the process is gone, or the time is up. */
export async function goneWithin(who: Identity, ms: number): Promise<boolean> {
  const deadline = Date.now() + ms
  while (isRunning(who)) {
    if (Date.now() >= deadline) return false
    await sleep(20)
  }
  return true
}
