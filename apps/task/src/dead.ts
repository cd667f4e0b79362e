/** What `npm run dead` does with dead letters. The runner finds the instance and reads the arguments; it knows the apps by their built files. */
import { createLogger } from '@tidings/service'
import {
  connectRedis,
  createKeys,
  dropLetter,
  fieldOf,
  type Group,
  type Keys,
  type Letter,
  type LetterPlace,
  lastLetter,
  type Redis,
  readLetters,
  retryLetter,
} from '@tidings/stream'

/** Letters read at once. One written by hand may be large. */
const PAGE = 50

export interface DeadRequest {
  act: 'list' | 'retry' | 'drop'
  /** Letters that were named, where not all are meant. */
  ids: readonly LetterPlace[]
  all: boolean
  groups: readonly Group[]
  /** Undefined: all of them. */
  partition: number | undefined
  /** Most letters that list shows. */
  limit: number
  json: boolean
  /** Whether list shows what people wrote. */
  content: boolean
}

/** A place with letters, or without. */
type Where = Pick<LetterPlace, 'group' | 'partition'>

/**
 * Lists, retries or drops, and prints what came of it.
 * @returns 1 when a named letter is gone, else 0
 * @throws when Redis is away or full: what was done until then is done
 */
export async function deadLetters(
  dataSet: { redisUrl: string; namespace: string; partitions: number },
  request: DeadRequest,
): Promise<number> {
  const redis = await connectRedis(dataSet.redisUrl, createLogger({ app: 'task', instance: 'dead', level: 'silent' }))
  const keys = createKeys(dataSet.namespace, dataSet.partitions)
  try {
    if (request.act !== 'list') return await settleAll(redis, keys, request)
    await list(redis, keys, request)
    return 0
  } finally {
    redis.disconnect()
  }
}

/** `<group>:<partition>:<id>`: ids alone are unique in one dead stream only. */
const idOf = ({ group, partition, id }: LetterPlace): string => `${group}:${partition}:${id}`

function placesOf({ partitions }: Keys, { groups, partition }: DeadRequest): Where[] {
  const wanted = partition === undefined ? Array.from({ length: partitions }, (_, p) => p) : [partition]
  return groups.flatMap((group) => wanted.map((p) => ({ group, partition: p })))
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

async function list(redis: Redis, keys: Keys, request: DeadRequest): Promise<void> {
  const shown: Record<string, unknown>[] = []
  let more = 0
  for await (const letter of lettersIn(redis, keys, placesOf(keys, request))) {
    if (shown.length < request.limit) shown.push(rowOf(letter, request.content))
    else more++
  }
  if (request.json) console.log(escapeControls(JSON.stringify(shown, null, 2)))
  else for (const row of shown) console.log(lineOf(row))
  if (more > 0) console.error(`${more} more: raise --limit`)
  else if (shown.length === 0) console.error('no dead letters')
}

/** What a letter shows of itself. Content is somebody's text: only on request. */
function rowOf(letter: Letter, withContent: boolean): Record<string, unknown> {
  const field = (name: string): string | undefined => fieldOf(letter, name)
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
async function settleAll(redis: Redis, keys: Keys, request: DeadRequest): Promise<number> {
  const act = request.act === 'retry' ? retryLetter : dropLetter
  let done = 0
  let gone = 0
  const one = async (place: LetterPlace): Promise<void> => {
    if (await act(redis, keys, place)) done++
    else {
      gone++
      console.error(`${idOf(place)} is gone already`)
    }
  }
  if (request.all) for await (const letter of lettersIn(redis, keys, placesOf(keys, request))) await one(letter)
  else for (const place of request.ids) await one(place)
  console.log(`${request.act === 'retry' ? 'put back' : 'dropped'}: ${done}`)
  return gone > 0 && !request.all ? 1 : 0
}
