/** What may be written behind `npm run bench --`. */
import { parseArgs } from 'node:util'
import { Failure, reasonOf } from '../failure.js'
import { CURVE_NAMES, type CurveName, curvesNamed } from './growth.js'
import { FULL, QUICK, type Scale, SUITES, type SuiteName, USUAL_SUITES } from './order.js'

export interface BenchOptions {
  suites: SuiteName[]
  scale: Scale
  quick: boolean
  /** Where the JSON goes; by default a new file in bench-results. */
  json: string | undefined
  /** The file of an earlier run that this one is held against. */
  compare: string | undefined
  /** Hold the inner loops against the stored ratios, and warn. */
  check: boolean
  /** Keep the ratios of the inner loops. */
  store: boolean
  /** What the suite growth varies. */
  curves: CurveName[]
  /** Where its curve of backlogs ends. */
  mostEntries: number | undefined
  /** Folder that its plots go to. */
  plots: string | undefined
  /** Profile the apps: they run slower, so the figures of such a run are not for quoting. */
  profile: boolean
}

/** The long suites may run two hours; a part of it is for filling and draining. */
const MOST_MINUTES = 60
const USAGE = `npm run bench -- [--suite all|${SUITES.join(',')}] [--minutes n] [--entries n] [--connections n] [--rate n] [--sessions n] [--curves ${CURVE_NAMES.join(',')}] [--plots folder] [--json file] [--compare old.json] [--check] [--store] [--quick] [--profile]`

/** @throws Failure with the usage */
export function parseOptions(args: string[]): BenchOptions {
  const given = readArgs(args)
  const { suite, curves, plots, json, compare, check, store, quick, profile } = given
  const { minutes, entries, connections, rate, sessions } = given
  const names = suite === 'all' ? [...SUITES] : (suite?.split(',') ?? [...USUAL_SUITES])
  const unknown = names.find((name) => !isSuite(name))
  if (unknown !== undefined) {
    throw new Failure(`There is no suite "${unknown}": ${USAGE}`, { exitCode: 2 })
  }
  const suites = SUITES.filter((name) => names.includes(name))
  if ((check || store) && !suites.includes('micro'))
    throw new Failure(`--check and --store are about the suite micro: ${USAGE}`, { exitCode: 2 })
  const scale = { ...(quick ? QUICK : FULL) }
  if (minutes !== undefined) {
    scale.overloadMs = wholeNumber('--minutes', minutes, MOST_MINUTES) * 60_000
    scale.soakMs = scale.overloadMs
  }
  if (entries !== undefined) {
    scale.backlogEntries = wholeNumber('--entries', entries, 10_000_000)
    scale.coldEntries = scale.backlogEntries
  }
  if (connections !== undefined) scale.stormConnections = wholeNumber('--connections', connections, 100_000)
  if (rate !== undefined) scale.stormRate = wholeNumber('--rate', rate, 10_000)
  if (sessions !== undefined) scale.routeSessions = wholeNumber('--sessions', sessions, 2_000_000)
  const varied = curves === undefined ? CURVE_NAMES : curvesNamed(curves)
  const mostEntries = entries === undefined ? undefined : scale.backlogEntries
  return { suites, curves: varied, mostEntries, plots, json, compare, check, store, quick, profile, scale }
}

function readArgs(args: string[]) {
  const options = {
    suite: { type: 'string' },
    json: { type: 'string' },
    compare: { type: 'string' },
    minutes: { type: 'string' },
    entries: { type: 'string' },
    connections: { type: 'string' },
    rate: { type: 'string' },
    curves: { type: 'string' },
    plots: { type: 'string' },
    sessions: { type: 'string' },
    check: { type: 'boolean', default: false },
    store: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
  } as const
  try {
    return parseArgs({ args, options }).values
  } catch (cause) {
    throw new Failure(`${reasonOf(cause)}. ${USAGE}`, { exitCode: 2, cause })
  }
}

function wholeNumber(name: string, text: string, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > most)
    throw new Failure(`${name} is a whole number from 1 to ${most}. ${USAGE}`, { exitCode: 2 })
  return value
}

const isSuite = (name: string): name is SuiteName => (SUITES as readonly string[]).includes(name)
