/** The word list as an operator writes it, a JSON document, and what it becomes. */
import { AppError, ROOM_ID } from '@tidings/protocol'
import { ACTIONS, type Action, type Automaton, buildAutomaton, type Word } from './automaton.js'
import { fold, type Ignore } from './fold.js'

/** Of the document. etcd takes requests up to 1.5 MiB. */
export const MAX_LIST_BYTES = 1024 * 1024
/** Those of the rooms included. */
export const MAX_WORDS = 20_000
export const MAX_WORD_LENGTH = 64
export const MAX_LISTED_ROOMS = 1_000
const IGNORES = ['none', 'punctuation', 'all'] as const
/** A list is made ready in steps of this length: what else there is to do is done between them. */
const STEP_MS = 8

interface ListedWord {
  /** Where it stands in the document. */
  at: string
  text: string
  action: Action
  whole: boolean
}

interface ListedRoom {
  off: boolean
  action: Action | undefined
  words: readonly ListedWord[]
}

/** A checked document. */
export interface WordList {
  ignore: Ignore
  words: readonly ListedWord[]
  rooms: ReadonlyMap<string, ListedRoom>
}

/** What a room has of its own. */
export interface RoomWords {
  readonly off: boolean
  /** Instead of the action of each word. */
  readonly action: Action | undefined
  readonly own: Automaton | undefined
}

/** A list, ready to be used. */
export interface ReadyWords {
  readonly ignore: Ignore
  /** The words for every conversation. */
  readonly all: Automaton
  /** By room id. */
  readonly rooms: ReadonlyMap<string, RoomWords>
  /** Words in all. */
  readonly count: number
}

const wrong = (at: string, what: string): AppError => new AppError('invalid_request', `${at} ${what}`)

type Members = Record<string, unknown>

function members(value: unknown, at: string, known: readonly string[]): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(at, 'must be an object.')
  const unknown = Object.keys(value).find((name) => !known.includes(name))
  if (unknown !== undefined) throw wrong(at, `has no member ${unknown.slice(0, 40)}; it has ${known.join(', ')}.`)
  return value as Members
}

function oneOf<C extends string>(value: unknown, at: string, choices: readonly C[]): C | undefined {
  if (value === undefined) return undefined
  if (!choices.includes(value as C)) throw wrong(at, `must be one of ${choices.join(', ')}.`)
  return value as C
}

function flagOf(value: unknown, at: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  throw wrong(at, 'must be true or false.')
}

function listOf(value: unknown, at: string): readonly unknown[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw wrong(at, 'must be an array.')
  return value
}

/**
 * Checks a document.
 * @param text JSON
 * @throws AppError `invalid_json`, `invalid_request`; the message says where
 */
export function parseWords(text: string): WordList {
  if (Buffer.byteLength(text) > MAX_LIST_BYTES) throw wrong('The list', `is larger than ${MAX_LIST_BYTES} bytes.`)
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw new AppError('invalid_json', 'The word list is not valid JSON.', { cause: error })
  }
  const list = members(parsed, 'The list', ['words', 'action', 'whole', 'ignore', 'rooms'])
  if (list.words === undefined) throw wrong('The list', 'must have words; an empty array switches the filter off.')
  const action = oneOf(list.action, 'action', ACTIONS) ?? 'mask'
  const whole = flagOf(list.whole, 'whole') ?? false
  let count = 0

  function wordOf(value: unknown, at: string): ListedWord {
    if (++count > MAX_WORDS) throw wrong('The list', `has more than ${MAX_WORDS} words.`)
    const one = typeof value === 'string' ? { word: value } : members(value, at, ['word', 'action', 'whole'])
    const { word } = one as Members
    if (typeof word !== 'string' || word === '' || word.length > MAX_WORD_LENGTH)
      throw wrong(at, `must be a word of 1 to ${MAX_WORD_LENGTH} characters.`)
    // No message has one, and it is no character.
    if (/\p{Cs}/u.test(word)) throw wrong(at, 'has half of a surrogate pair in it.')
    return {
      at,
      text: word,
      action: oneOf((one as Members).action, `${at}.action`, ACTIONS) ?? action,
      whole: flagOf((one as Members).whole, `${at}.whole`) ?? whole,
    }
  }

  const wordsOf = (value: unknown, at: string) => listOf(value, at).map((one, i) => wordOf(one, `${at}[${i}]`))
  const words = wordsOf(list.words, 'words')
  const rooms = new Map<string, ListedRoom>()
  const listed = list.rooms === undefined ? {} : list.rooms
  if (typeof listed !== 'object' || listed === null || Array.isArray(listed)) throw wrong('rooms', 'must be an object.')
  for (const [id, value] of Object.entries(listed)) {
    const at = `rooms.${id.slice(0, 40)}`
    if (!ROOM_ID.test(id)) throw wrong(at, 'is no room: give the 16 characters of its id.')
    if (rooms.size === MAX_LISTED_ROOMS) throw wrong('rooms', `has more than ${MAX_LISTED_ROOMS} rooms.`)
    const room = members(value, at, ['action', 'off', 'words'])
    rooms.set(id, {
      off: flagOf(room.off, `${at}.off`) ?? false,
      action: oneOf(room.action, `${at}.action`, ACTIONS),
      words: wordsOf(room.words, `${at}.words`),
    })
  }
  return { ignore: oneOf(list.ignore, 'ignore', IGNORES) ?? 'none', words, rooms }
}

/**
 * Makes a list ready, in short steps: 20,000 words take some tenths of a second in all.
 * @returns undefined when there is nothing to find
 * @throws AppError `invalid_request` for a word of which nothing is left when it is folded
 */
export async function readyWords({ ignore, words, rooms }: WordList): Promise<ReadyWords | undefined> {
  const rest = createRest()
  const count = words.length + [...rooms.values()].reduce((sum, room) => sum + room.words.length, 0)
  if (count === 0) return undefined

  async function build(listed: readonly ListedWord[]): Promise<Automaton> {
    const folded: Word[] = []
    for (const { at, text, action, whole } of listed) {
      if (folded.length % 64 === 0) await rest()
      const { units } = fold(text, ignore)
      if (units.length === 0) throw wrong(at, 'has nothing that the filter looks at: only what it passes over.')
      folded.push({ text, units, action, whole })
    }
    return await buildAutomaton(folded, rest)
  }

  const all = await build(words)
  const ready = new Map<string, RoomWords>()
  for (const [id, { off, action, words: own }] of rooms) {
    ready.set(id, { off, action, own: own.length === 0 ? undefined : await build(own) })
  }
  return { ignore, all, rooms: ready, count }
}

/** @returns a function that lets the event loop turn when a step has taken long enough */
function createRest(): () => undefined | Promise<void> {
  let since = performance.now()
  return () => {
    if (performance.now() - since < STEP_MS) return undefined
    return new Promise((resolve) =>
      setImmediate(() => {
        since = performance.now()
        resolve()
      }),
    )
  }
}
