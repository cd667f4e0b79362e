/** What may be written behind `npm run bench --`. */
import { parseArgs } from 'node:util'
import { Failure, reasonOf } from '../failure.js'
import { FULL, QUICK, type Scale, SUITES, type SuiteName } from './order.js'

export interface BenchOptions {
  suites: SuiteName[]
  scale: Scale
  quick: boolean
  /** Where the JSON goes; by default a new file in bench-results. */
  json: string | undefined
  /** Profile the apps: they run slower, so the figures of such a run are not for quoting. */
  profile: boolean
}

const USAGE = `npm run bench -- [--suite ${SUITES.join(',')}] [--json file] [--quick] [--profile]`

/** @throws Failure with the usage */
export function parseOptions(args: string[]): BenchOptions {
  const { suite, json, quick, profile } = readArgs(args)
  const names = suite?.split(',') ?? [...SUITES]
  const unknown = names.find((name) => !isSuite(name))
  if (unknown !== undefined) {
    const why = unknown === 'fanout' ? 'The suite fanout waits for rooms' : `There is no suite "${unknown}"`
    throw new Failure(`${why}: ${USAGE}`, { exitCode: 2 })
  }
  const suites = SUITES.filter((name) => names.includes(name))
  return { suites, json, quick, profile, scale: quick ? QUICK : FULL }
}

function readArgs(args: string[]) {
  const options = {
    suite: { type: 'string' },
    json: { type: 'string' },
    quick: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
  } as const
  try {
    return parseArgs({ args, options }).values
  } catch (cause) {
    throw new Failure(`${reasonOf(cause)}. ${USAGE}`, { exitCode: 2, cause })
  }
}

const isSuite = (name: string): name is SuiteName => (SUITES as readonly string[]).includes(name)
