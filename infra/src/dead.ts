/** `npm run dead -- list|retry|drop`: what the groups gave up on, shown, put back, or removed. */
import { parseArgs } from 'node:util'
import { createLogger } from '@tidings/service'
import {
  connectRedis,
  createKeys,
  dropLetter,
  type Group,
  type Keys,
  type Letter,
  type LetterPlace,
  lastLetter,
  type Redis,
  readLetters,
  retryLetter,
} from '@tidings/stream'
import { asRecord, type DataFolder, dataFolder, dataSetName } from './data.js'
import { Failure, reasonOf } from './failure.js'
import { readJson } from './files.js'
import { dataDirSetting, isGiven, readSettings } from './settings.js'
import { readState, stillRunning } from './state.js'

const USAGE = `npm run dead -- list [--group push|persist] [--partition p] [--limit n] [--json] [--content]
       npm run dead -- retry <id…> | --all [--group push|persist] [--partition p]
       npm run dead -- drop  <id…> | --all [--group push|persist] [--partition p]  --yes`

const GROUPS: readonly Group[] = ['push', 'persist']
/** Letters read at once. One written by hand may be large. */
const PAGE = 50
const DEFAULT_LIMIT = 100

interface DeadOptions {
  act: 'list' | 'retry' | 'drop'
  /** Letters that were named. */
  ids: readonly LetterPlace[]
  all: boolean
  groups: readonly Group[]
  partition: number | undefined
  limit: number
  json: boolean
  content: boolean
}

/** A place with letters, or without. */
type Where = Pick<LetterPlace, 'group' | 'partition'>

/** @returns 1 when a named letter is gone */
export async function dead(args: string[]): Promise<number> {
  const options = parseOptions(args)
  const { redis, keys } = await connect(dataFolder(dataDirSetting(process.env)))
  try {
    if (options.act === 'list') await list(redis, keys, options)
    else return await settleAll(redis, keys, options)
    return 0
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(`Stopped half-way: ${reasonOf(error)}`, { cause: error })
  } finally {
    redis.disconnect()
  }
}

/** @throws Failure with the usage */
export function parseOptions(args: string[]): DeadOptions {
  const { values, positionals } = readArgs(args)
  const [act = '', ...names] = positionals
  const wrong = (why: string): Failure => new Failure(`${why}. Usage:\n       ${USAGE}`, { exitCode: 2 })
  if (act !== 'list' && act !== 'retry' && act !== 'drop') throw wrong('Say list, retry or drop')
  const group = GROUPS.find((name) => name === values.group)
  if (values.group !== undefined && !group) throw wrong('--group is push or persist')
  const ids = names.map((name) => parseId(name) ?? name)
  const unknown = ids.find((id) => typeof id === 'string')
  if (unknown !== undefined) throw wrong(`"${printable(unknown)}" is not an id as list shows it`)
  if (act === 'list' && (ids.length > 0 || values.all)) throw wrong('list takes no ids')
  if (act !== 'list' && ids.length > 0 === values.all) throw wrong(`Give the ids to ${act}, or --all`)
  if (act === 'drop' && !values.yes) throw wrong('What is dropped is gone for good: add --yes')
  return {
    act,
    ids: ids as LetterPlace[],
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

/** `<group>:<partition>:<id>`: ids alone are unique in one dead stream only. */
const idOf = ({ group, partition, id }: LetterPlace): string => `${group}:${partition}:${id}`

function parseId(text: string): LetterPlace | undefined {
  const match = /^(push|persist):(\d{1,4}):(\d+-\d+)$/.exec(text)
  return match ? { group: match[1] as Group, partition: Number(match[2]), id: match[3]! } : undefined
}

/** The Redis of the instance in the data folder, or the one that was given. @throws Failure when there is none, or it does not answer */
async function connect(data: DataFolder): Promise<{ redis: Redis; keys: Keys }> {
  const settings = readSettings(process.env)
  const { TIDINGS_REDIS_URL: given, TIDINGS_NAMESPACE: namespace } = settings
  const own = stillRunning(readState(data).children).find(({ name }) => name === 'redis')
  const url = given ?? (own && `redis://127.0.0.1:${own.ports.client}`)
  if (url === undefined)
    throw new Failure('Nothing runs here: run npm start in another terminal first, or set TIDINGS_REDIS_URL.')
  const noted = asRecord(asRecord(readJson(data.facts)).partitions)[dataSetName(given, namespace)]
  const partitions = typeof noted === 'number' && !isGiven('TIDINGS_PARTITIONS') ? noted : settings.TIDINGS_PARTITIONS
  try {
    const log = createLogger({ app: 'dead', instance: 'dead', level: 'silent' })
    return { redis: await connectRedis(url, 'command', log), keys: createKeys(namespace, partitions) }
  } catch (error) {
    throw new Failure(`Redis does not answer: ${reasonOf(error)}`, { cause: error })
  }
}

function placesOf(keys: Keys, { groups, partition }: DeadOptions): Where[] {
  if (partition !== undefined && partition >= keys.partitions)
    throw new Failure(`There is no partition ${partition}: there are ${keys.partitions}, from 0 on.`, { exitCode: 2 })
  const partitions = partition === undefined ? Array.from({ length: keys.partitions }, (_, p) => p) : [partition]
  return groups.flatMap((group) => partitions.map((p) => ({ group, partition: p })))
}

/** The letters of these places that are there now, oldest first in each: what comes meanwhile is left out, so that it ends. */
async function* lettersIn(redis: Redis, keys: Keys, places: readonly Where[]): AsyncGenerator<Letter> {
  for (const place of places) {
    const upTo = await lastLetter(redis, keys, place)
    if (upTo === undefined) continue
    for (let after: string | undefined; ; ) {
      const page = await readLetters(redis, keys, place, { after, upTo, limit: PAGE })
      yield* page
      after = page.at(-1)?.id
      if (page.length < PAGE) break
    }
  }
}

async function list(redis: Redis, keys: Keys, options: DeadOptions): Promise<void> {
  const shown: Record<string, unknown>[] = []
  let more = 0
  for await (const letter of lettersIn(redis, keys, placesOf(keys, options))) {
    if (shown.length < options.limit) shown.push(rowOf(letter, options.content))
    else more++
  }
  if (options.json) console.log(escapeControls(JSON.stringify(shown, null, 2)))
  else for (const row of shown) console.log(lineOf(row))
  if (more > 0) console.error(`${more} more: raise --limit`)
  else if (shown.length === 0) console.error('no dead letters')
}

/** What a letter shows of itself. Content is somebody's text: only on request. */
function rowOf(letter: Letter, withContent: boolean): Record<string, unknown> {
  const field = (name: string): string | undefined => {
    const at = letter.fields.findIndex((each, i) => i % 2 === 0 && each === name)
    return at === -1 ? undefined : letter.fields[at + 1]
  }
  const { group, partition, reason, deliveries, entry } = letter
  return {
    id: idOf(letter),
    partition,
    group,
    conversation: field('conversation'),
    seq: field('seq'),
    from: field('from'),
    type: field('type'),
    reason,
    deliveries,
    when: new Date(Number(letter.id.split('-')[0])).toISOString(),
    entry,
    ...(withContent && { content: field('content') }),
  }
}

function lineOf({ id, when, conversation, seq, from, type, reason, deliveries, content }: Record<string, unknown>) {
  const cells = [id, when, conversation, `seq ${seq ?? '?'}`, from, type, `deliveries ${deliveries}`, reason, content]
  return cells.flatMap((cell) => (cell === undefined ? [] : printable(String(cell)))).join('  ')
}

const LONGEST_CELL = 300

/** Somebody's text in a terminal: no control characters, and no endless line. */
function printable(text: string): string {
  const escaped = escapeControls(text).replaceAll('\n', '\\n')
  return escaped.length > LONGEST_CELL ? `${escaped.slice(0, LONGEST_CELL)}…` : escaped
}

/** Control characters and what turns the direction of a line, as JSON escapes; line breaks are left to JSON's own layout. */
function escapeControls(text: string): string {
  return text.replace(
    /(?!\n)[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Retries or drops. @returns 1 when a named letter was gone */
async function settleAll(redis: Redis, keys: Keys, options: DeadOptions): Promise<number> {
  const act = options.act === 'retry' ? retryLetter : dropLetter
  let done = 0
  let gone = 0
  const one = async (place: LetterPlace): Promise<void> => {
    if (await act(redis, keys, place)) done++
    else {
      gone++
      console.error(`${idOf(place)} is gone already`)
    }
  }
  if (options.all) for await (const letter of lettersIn(redis, keys, placesOf(keys, options))) await one(letter)
  else for (const place of options.ids) await one(place)
  console.log(`${options.act === 'retry' ? 'put back' : 'dropped'}: ${done}`)
  return gone > 0 && !options.all ? 1 : 0
}
