/** `npm run dead -- list|retry|drop`: what the groups gave up on, shown, put back, or removed. */
import { parseArgs } from 'node:util'
import { asRecord, type DataFolder, dataFolder, dataSetName } from './data.js'
import { Failure, reasonOf } from './failure.js'
import { readJson } from './files.js'
import { dataDirSetting, isGiven, readSettings } from './settings.js'
import { readState, stillRunning } from './state.js'

const USAGE = `npm run dead -- list [--group push|persist|notify] [--partition p] [--limit n] [--json] [--content]
       npm run dead -- retry <id…> | --all [--group push|persist|notify] [--partition p]
       npm run dead -- drop  <id…> | --all [--group push|persist|notify] [--partition p]  --yes`

const GROUPS: readonly Group[] = ['push', 'persist', 'notify']
const ID = new RegExp(`^(${GROUPS.join('|')}):(\\d{1,4}):(\\d+-\\d+)$`)
const DEFAULT_LIMIT = 100

type Group = 'push' | 'persist' | 'notify'

/** Which letter: ids alone are unique in one dead stream only. */
interface LetterPlace {
  group: Group
  partition: number
  id: string
}

/** As apps/task takes it. */
interface DeadRequest {
  act: 'list' | 'retry' | 'drop'
  ids: readonly LetterPlace[]
  all: boolean
  groups: readonly Group[]
  partition: number | undefined
  limit: number
  json: boolean
  content: boolean
}

interface DataSet {
  redisUrl: string
  namespace: string
  partitions: number
}

/** The runner knows the apps by their built files alone. */
interface Task {
  deadLetters(dataSet: DataSet, request: DeadRequest): Promise<number>
}
const TASK = new URL('../../../apps/task/dist/src/dead.js', import.meta.url).href

/** @returns 1 when a named letter is gone */
export async function dead(args: string[]): Promise<number> {
  const request = parseOptions(args)
  const dataSet = find(dataFolder(dataDirSetting(process.env)))
  const { partition } = request
  if (partition !== undefined && partition >= dataSet.partitions)
    throw new Failure(`There is no partition ${partition}: there are ${dataSet.partitions}, from 0 on.`, {
      exitCode: 2,
    })
  const { deadLetters } = (await import(TASK)) as Task
  try {
    return await deadLetters(dataSet, request)
  } catch (error) {
    throw new Failure(`Redis does not do it: ${reasonOf(error)}`, { cause: error })
  }
}

/** @throws Failure with the usage */
export function parseOptions(args: string[]): DeadRequest {
  const { values, positionals } = readArgs(args)
  const [act = '', ...names] = positionals
  const wrong = (why: string): Failure => new Failure(`${why}. Usage:\n       ${USAGE}`, { exitCode: 2 })
  if (act !== 'list' && act !== 'retry' && act !== 'drop') throw wrong('Say list, retry or drop')
  const group = GROUPS.find((name) => name === values.group)
  if (values.group !== undefined && !group) throw wrong('--group is push, persist or notify')
  const ids = names.flatMap((name) => parseId(name) ?? [])
  if (ids.length < names.length) throw wrong('An id is one that list shows, such as persist:3:1763700000000-0')
  if (act === 'list' && (ids.length > 0 || values.all)) throw wrong('list takes no ids')
  if (act !== 'list' && ids.length > 0 === values.all) throw wrong(`Give the ids to ${act}, or --all`)
  if (act === 'drop' && !values.yes) throw wrong('What is dropped is gone for good: add --yes')
  return {
    act,
    ids,
    all: values.all,
    groups: group ? [group] : GROUPS,
    partition: wholeNumber(values.partition, () => wrong('--partition is a whole number')),
    limit: wholeNumber(values.limit, () => wrong('--limit is a whole number')) ?? DEFAULT_LIMIT,
    json: values.json,
    content: values.content,
  }
}

function readArgs(args: string[]) {
  const options = {
    group: { type: 'string' },
    partition: { type: 'string' },
    limit: { type: 'string' },
    all: { type: 'boolean', default: false },
    yes: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    content: { type: 'boolean', default: false },
  } as const
  try {
    return parseArgs({ args, options, allowPositionals: true })
  } catch (cause) {
    throw new Failure(`${reasonOf(cause)}. Usage:\n       ${USAGE}`, { exitCode: 2, cause })
  }
}

function wholeNumber(text: string | undefined, wrong: () => Failure): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text)) throw wrong()
  return Number(text)
}

/** `<group>:<partition>:<id>`, as list shows it. */
function parseId(text: string): LetterPlace | undefined {
  const match = ID.exec(text)
  return match ? { group: match[1] as Group, partition: Number(match[2]), id: match[3]! } : undefined
}

/** The instance in the data folder, or the one in the Redis that was given. @throws Failure when there is none */
function find(data: DataFolder): DataSet {
  const settings = readSettings(process.env)
  const { TIDINGS_REDIS_URL: given, TIDINGS_NAMESPACE: namespace } = settings
  const own = stillRunning(readState(data).children).find(({ name }) => name === 'redis')
  const redisUrl = given ?? (own && `redis://127.0.0.1:${own.ports.client}`)
  if (redisUrl === undefined)
    throw new Failure('Nothing runs here: run npm start in another terminal first, or set TIDINGS_REDIS_URL.')
  const noted = asRecord(asRecord(readJson(data.facts)).partitions)[dataSetName(given, namespace)]
  const partitions = typeof noted === 'number' && !isGiven('TIDINGS_PARTITIONS') ? noted : settings.TIDINGS_PARTITIONS
  return { redisUrl, namespace, partitions }
}
