/** `npm run prove`: reads the options, runs, prints. */
import { randomInt } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkout, Failure, reasonOf } from '@tidings/infra'
import { check } from './check/checker.js'
import { byCluster, chooseFaults, FAULTS, isPossible, NOT_HERE } from './faults/all.js'
import type { Fault } from './faults/fault.js'
import { parseHistory } from './history.js'
import { print } from './report.js'
import { BUGS, type Bug } from './rewrite/bugs.js'
import { run } from './run.js'
import { printSimulated, SIMULATORS, simulate } from './simulators.js'

const USAGE =
  'npm run prove -- [--minutes 5] [--faults all|none|1,5-9] [--schedules n] [--seed n] [--rate n] [--changes n] [--pace n] [--plant bug] [--markdown] [--list] [--check history.jsonl]'
const FINISH_MS = 60_000
/** A run of many faults proves little with fewer; a short one is asked for less. */
const LEAST_ACCEPTED = 500
const LEAST_PER_FAULT = 30
/** Of each simulator, where all faults are asked for: half a minute beside them. */
const FEW_SCHEDULES = 10_000

/** Of a process that does not wait for its end any more. */
const INTERRUPTED = 130

/** @returns the exit status: 0 when every promise was kept */
export async function prove(args: string[]): Promise<number> {
  const given = read(args)
  if (given.list) return list()
  if (given.check !== undefined) return judge(given.check, given.markdown)
  const seed = given.seed === undefined ? randomInt(2 ** 31) : numberOf('seed', given.seed)
  const chosen = choose(given.faults ?? (given.schedules === undefined ? 'all' : 'none'))
  const changes = numberOf('changes', given.changes)
  const faults = chosen.filter((fault) => isPossible(fault) && (changes > 0 || !fault.changes))
  const schedules = schedulesOf(given)
  const bug = given.plant === undefined ? undefined : bugOf(given.plant)
  const folder = join(checkout, '.tidings', `prove-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  const say = (line: string): void => console.error(`tidings prove: ${line}`)
  say(`seed ${seed}; logs and history in ${folder}`)
  for (const { row, name } of chosen.filter((fault) => !isPossible(fault)))
    say(`${row}: ${name}: left out, for it takes a file system of its own, and this process may not mount one`)
  const interrupt = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => {
      if (interrupt.signal.aborted) process.exit(INTERRUPTED)
      interrupt.abort()
    })
  const broken = await simulated({ schedules, seed, folder, say, signal: interrupt.signal }, given.markdown)
  // Schedules without faults: no cluster is needed.
  if (given.schedules !== undefined && given.faults === undefined) return broken === 0 ? 0 : 1
  const common = {
    seed,
    minutes: numberOf('minutes', given.minutes),
    rate: numberOf('rate', given.rate),
    changes,
    conversations: 6,
    count: { api: 2, logic: 2, task: 2, connect: 2 },
    pace: numberOf('pace', given.pace),
    slack: 1,
    ...(bug && { rewrites: { [bug.app]: bug.rewrites } }),
    finishMs: FINISH_MS,
    say,
    signal: interrupt.signal,
  }
  let breaches = broken
  for (const { name, redis, faults: together } of byCluster(faults)) {
    if (interrupt.signal.aborted) return INTERRUPTED
    const here = join(folder, name)
    mkdirSync(here)
    const leastAccepted = Math.min(LEAST_ACCEPTED, LEAST_PER_FAULT * Math.max(together.length, 1))
    const result = await run({ ...common, leastAccepted, redis, faults: together, folder: here })
    print(result, { markdown: given.markdown, write: console.log })
    breaches += result.verdict.violations.length
  }
  return breaches === 0 ? 0 : 1
}

/** @returns how many simulators failed */
async function simulated(options: Parameters<typeof simulate>[0], markdown: boolean): Promise<number> {
  if (options.schedules === 0) return 0
  const results = await simulate(options)
  printSimulated(results, { markdown, write: console.log })
  return results.filter(({ fault }) => fault !== undefined).length
}

/** As many as are asked for; some where all faults are, by name or because nothing else is. */
function schedulesOf({ schedules, faults }: { schedules?: string | undefined; faults?: string | undefined }): number {
  if (schedules === undefined) return (faults ?? 'all') === 'all' ? FEW_SCHEDULES : 0
  const count = numberOf('schedules', schedules)
  if (!Number.isSafeInteger(count)) throw new Failure(`--schedules takes a whole number. ${USAGE}`, { exitCode: 2 })
  return count
}

function read(args: string[]) {
  const options = {
    minutes: { type: 'string', default: '5' },
    faults: { type: 'string' },
    schedules: { type: 'string' },
    seed: { type: 'string' },
    rate: { type: 'string', default: '60' },
    changes: { type: 'string', default: '4' },
    pace: { type: 'string', default: '1' },
    plant: { type: 'string' },
    markdown: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    check: { type: 'string' },
  } as const
  try {
    return parseArgs({ args, options }).values
  } catch (cause) {
    throw new Failure(`${reasonOf(cause)}. ${USAGE}`, { exitCode: 2, cause })
  }
}

function numberOf(name: string, text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new Failure(`--${name} takes a number. ${USAGE}`, { exitCode: 2 })
  return value
}

function choose(wanted: string) {
  try {
    return chooseFaults(wanted)
  } catch (cause) {
    throw new Failure(reasonOf(cause), { exitCode: 2, cause })
  }
}

function bugOf(name: string): Bug {
  const bug = BUGS.find((one) => one.name === name)
  if (!bug) throw new Failure(`--plant takes one of ${BUGS.map((one) => one.name).join(', ')}.`, { exitCode: 2 })
  return bug
}

function list(): number {
  for (const fault of FAULTS)
    console.log(`${fault.row.padEnd(4)} ${fault.name} (within ${fault.boundMs / 1_000} s)${noteOf(fault)}`)
  for (const { name, file } of SIMULATORS) console.log(`simulator ${name}: ${file}`)
  for (const { name, what, row } of BUGS) console.log(`bug  ${name}: ${what} (row ${row})`)
  for (const [row, why] of Object.entries(NOT_HERE)) console.log(`${row.padEnd(4)} not here: ${why}`)
  return 0
}

function noteOf(fault: Fault): string {
  if (fault.open !== undefined) return `: only when it is named, for it breaks a promise: ${fault.open}`
  return isPossible(fault) ? '' : ': not here, for it takes a file system of its own'
}

function judge(path: string, markdown: boolean): number {
  const verdict = check(parseHistory(readFileSync(path, 'utf8')))
  print({ verdict, history: path }, { markdown, write: console.log })
  return verdict.violations.length === 0 ? 0 : 1
}
