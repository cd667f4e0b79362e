/** Messages of one's own conversations by their words. What may be read is asked first, and nothing else is looked at. */
import {
  AppError,
  type Entry,
  EVERYONE,
  firstIdAt,
  isExpired,
  type logicRpc,
  parseConversation,
  requirePossibleParty,
} from '@tidings/protocol'
import {
  type FoundEntry,
  hasRuns,
  marksOf,
  type Searched,
  type Store,
  searchableText,
  searchEntries,
  searchedUpTo,
  type Term,
  termsOf,
} from '@tidings/store'
import type { Devices } from './devices.js'
import { readHeads } from './heads.js'
import { type HistoryDeps, toHistoryEntry } from './history.js'
import { limitOf, seqOf, userOf } from './input.js'
import { createLine } from './line.js'
import { floorOf, membershipsOf } from './rooms/membership.js'
import { findShown } from './shown.js'

const LIMIT = { default: 20, max: 100 }
const MAX_QUESTION = 200
const MAX_TERMS = 32
/** Results beyond it nobody pages through. */
const MAX_OFFSET = 1_000
/** Conversations in one search, and in one statement. */
const MAX_CONVERSATIONS = 5_000
const CHUNK = 500
/** Searches at the same time in this process, and those in line: they must not take the connections of all else. */
const AT_ONCE = 3
const IN_LINE = 30
/** Of one user: no one alone takes all. */
const PER_USER = 2
/** One waits for so long, and then takes so long, with all its statements. */
const WAIT_MS = 2_000
const SEARCH_MS = 2_000
/** Of what is shown of a long text, and before the first word in it. */
const SNIPPET = 200
const LEAD = 50
/** Clocks of processes that make ids may differ. */
const CLOCKS_MS = 1_000

export interface SearchDeps extends HistoryDeps {
  devices: Devices
  search: Searches
}

/** A line before the database. */
export interface Searches {
  /** @throws AppError `not_found` where search is off, `overloaded` when the line is full */
  run<T>(user: string, work: () => Promise<T>): Promise<T>
}

export function createSearches(on: boolean): Searches {
  const line = createLine({
    atOnce: AT_ONCE,
    inLine: IN_LINE,
    perUser: PER_USER,
    waitMs: WAIT_MS,
    refusal: 'Too many searches at once. Try again shortly.',
  })
  return {
    async run(user, work) {
      if (!on) throw new AppError('not_found', 'Search is turned off here.')
      return line.run(user, work)
    },
  }
}

/**
 * The best first, of equals the newest.
 * @throws AppError `invalid_request`, `conversation_not_found`, `not_found`, `overloaded`, `unavailable`
 */
export async function searchMessages(
  deps: SearchDeps,
  request: logicRpc.SearchMessagesRequest,
): Promise<logicRpc.SearchMessagesResponse> {
  const user = userOf(request.user)
  const limit = limitOf(request.limit, LIMIT)
  const terms = termsIn(request.query)
  const { offset, upToId } = pageOf(request.cursor)
  const only = {
    from: request.from === '' ? undefined : userOf(request.from),
    before: request.before === 0 ? undefined : seqOf('before', request.before),
    after: request.after === 0 ? undefined : seqOf('after', request.after),
  }
  return deps.search.run(user, async () => {
    const deadline = performance.now() + SEARCH_MS
    const within = await searchedBy(deps, user, request.conversation)
    const complete = await isComplete(deps, within)
    const found = await searchAll(deps.store, within, deadline, { ...only, terms, upToId, limit: offset + limit + 1 })
    const page = found.slice(offset, offset + limit)
    const next = offset + limit
    return {
      hits: await toHits(deps, page, request.query, terms),
      nextCursor: found.length > next && next <= MAX_OFFSET ? toCursor(next, upToId) : '',
      complete,
    }
  })
}

function termsIn(query: string): Term[] {
  if (query.length > MAX_QUESTION) throw new AppError('invalid_request', `q has at most ${MAX_QUESTION} characters.`)
  const terms = termsOf(query)
  if (terms.length === 0) throw new AppError('invalid_request', 'q has nothing in it that can be searched for.')
  if (terms.length > MAX_TERMS) throw new AppError('invalid_request', `q has at most ${MAX_TERMS} words.`)
  return terms
}

/** Later pages are of what was there at the first. */
function pageOf(cursor: string): { offset: number; upToId: string } {
  if (cursor === '') return { offset: 0, upToId: firstIdAt(Date.now() + CLOCKS_MS) }
  const text = cursor.length > 100 ? '' : Buffer.from(cursor, 'base64url').toString()
  const [, offset, upToId] = /^(\d{1,4}) (\d{1,19})$/.exec(text) ?? []
  if (upToId === undefined || Number(offset) > MAX_OFFSET)
    throw new AppError('invalid_request', 'cursor is not one that a page of this list ended with.')
  return { offset: Number(offset), upToId }
}

const toCursor = (offset: number, upToId: string): string => Buffer.from(`${offset} ${upToId}`).toString('base64url')

/** What the user may read: one conversation, or all. @throws AppError `conversation_not_found`, `invalid_request`, `unavailable` */
async function searchedBy(deps: SearchDeps, user: string, conversation: string): Promise<Searched[]> {
  if (conversation !== '') {
    const one = requirePossibleParty(conversation, user)
    return [{ conversation: one.id, floor: await floorOf(deps, user, one) }]
  }
  const all = await deps.devices.conversationsOf(user)
  const memberships = await membershipsOf(deps, user, all)
  const feedStart = await deps.broadcasts.startOf(user)
  const within = all.flatMap((one): Searched[] => {
    const elsewhere = one === EVERYONE ? feedStart : 0
    const floor = parseConversation(one)?.kind === 'room' ? memberships.get(one)?.floor : elsewhere
    return floor === undefined ? [] : [{ conversation: one, floor }]
  })
  if (within.length > MAX_CONVERSATIONS)
    throw new AppError('invalid_request', `With more than ${MAX_CONVERSATIONS} conversations, name one of them.`)
  return within
}

/** Is every entry of them in the index? */
async function isComplete(deps: SearchDeps, within: readonly Searched[]): Promise<boolean> {
  const conversations = within.map(({ conversation }) => conversation)
  const heads = await readHeads(deps, conversations)
  for (let at = 0; at < conversations.length; at += CHUNK) {
    const some = conversations.slice(at, at + CHUNK)
    const reached = await searchedUpTo(deps.store, some)
    if (some.some((one) => heads.get(one)! > (reached.get(one) ?? 0))) return false
  }
  return true
}

/** @param deadline by performance.now(), for all of it @throws AppError `unavailable`, also when it takes too long */
async function searchAll(
  store: Store,
  within: readonly Searched[],
  deadline: number,
  question: Omit<Parameters<typeof searchEntries>[1], 'within' | 'giveUpMs'>,
): Promise<FoundEntry[]> {
  const found: FoundEntry[] = []
  for (let at = 0; at < within.length; at += CHUNK) {
    const giveUpMs = Math.ceil(deadline - performance.now())
    if (giveUpMs <= 0) throw new AppError('unavailable', 'The search takes too long.', { retryAfter: 2 })
    found.push(...(await searchEntries(store, { ...question, giveUpMs, within: within.slice(at, at + CHUNK) })))
  }
  return found.sort((a, b) => b.score - a.score || compareIds(b.id, a.id))
}

/** Decimals without leading zeros: the longer one is the larger one. */
const compareIds = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)

/** With their text as it is now; what is not there any more, or says something else, is left out. */
async function toHits(
  deps: SearchDeps,
  page: readonly FoundEntry[],
  query: string,
  terms: readonly Term[],
): Promise<logicRpc.SearchHit[]> {
  const there = await findShown(
    deps,
    page.map(({ id }) => id),
  )
  const entries = new Map(there.map((entry) => [entry.id, entry]))
  return page.flatMap(({ id, conversation }) => {
    const entry = entries.get(id)
    return entry?.conversation === conversation && !isExpired(entry, Date.now()) ? toHit(entry, query, terms) : []
  })
}

function toHit(entry: Entry, query: string, terms: readonly Term[]): logicRpc.SearchHit[] {
  const text = searchableText(entry)
  const marks = marksOf(text, terms)
  if (marks.length === 0 || !hasRuns(text, query)) return []
  return [{ entry: toHistoryEntry(entry), ...snippetOf(text, marks) }]
}

/** A part of the text with the first word that was looked for in it. Places are in UTF-16 units of the snippet. */
function snippetOf(
  text: string,
  marks: readonly [number, number][],
): { snippet: string; marks: logicRpc.SearchHit['marks'] } {
  const start = onCharacter(text, text.length <= SNIPPET ? 0 : Math.max(0, marks[0]![0] - LEAD))
  const end = onCharacter(text, Math.min(text.length, start + SNIPPET))
  return {
    snippet: text.slice(start, end),
    marks: marks
      .map(([from, to]) => ({ from: Math.max(from, start) - start, to: Math.min(to, end) - start }))
      .filter(({ from, to }) => from < to),
  }
}

/** Not between the halves of a pair. */
const onCharacter = (text: string, at: number): number => (/[\uDC00-\uDFFF]/.test(text[at] ?? '') ? at - 1 : at)
