/**
 * JSON as text. A message's content travels as the very characters the sender wrote, so here JSON is measured and cut, never
 * written again. Every function expects text that JSON.parse has accepted; what JSON.parse lets through (duplicate keys, lone
 * surrogates, any depth) is refused here. RFC 8259 sections 4 and 8.2 say why both are trouble between programs.
 */
import { AppError } from './errors.js'
import { MAX_CONTENT_BYTES, MAX_CONTENT_DEPTH } from './ids.js'

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const LOWER_U = 0x75

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09

function skipSpace(text: string, at: number): number {
  while (isSpace(text.charCodeAt(at))) at++
  return at
}

/** A text and how far its escapes are known: most texts have none, and a string without one ends with the next quote. */
interface Json {
  readonly text: string
  /** The first backslash at or behind where reading has got; Infinity when there is none. */
  escape: number
}

function escapeFrom(json: Json, at: number): number {
  if (json.escape < at) {
    const next = json.text.indexOf('\\', at)
    json.escape = next === -1 ? Number.POSITIVE_INFINITY : next
  }
  return json.escape
}

/** @param at index of the opening quote @returns index after the closing one */
function skipString(json: Json, at: number): number {
  const { text } = json
  const end = text.indexOf('"', at + 1)
  if (end === -1) throw notJson()
  return escapeFrom(json, at) > end ? end + 1 : skipEscapes(text, at + 1)
}

/** @param at index behind the opening quote @returns index after the closing one */
function skipEscapes(text: string, at: number): number {
  for (;;) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at + 1
    if (Number.isNaN(code)) throw notJson()
    if (code !== BACKSLASH) at++
    else if (text.charCodeAt(at + 1) === LOWER_U) at = skipUnicodeEscape(text, at)
    else at += 2
  }
}

/** A `\uXXXX`, which must not be half of a pair. */
function skipUnicodeEscape(text: string, at: number): number {
  const unit = Number.parseInt(text.slice(at + 2, at + 6), 16)
  if (unit < 0xd800 || unit > 0xdfff) return at + 6
  const low = text.startsWith('\\u', at + 6) ? Number.parseInt(text.slice(at + 8, at + 12), 16) : 0
  if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff) {
    throw new AppError('invalid_content', 'A string holds half of a surrogate pair, which is not Unicode text.')
  }
  return at + 12
}

/** The functions here rely on JSON.parse; text that it has not seen ends with an error and never with a loop. */
const notJson = (): AppError => new AppError('invalid_json', 'The text is not valid JSON.')

function keyAt(text: string, start: number, end: number): string {
  const raw = text.slice(start + 1, end - 1)
  return raw.includes('\\') ? (JSON.parse(text.slice(start, end)) as string) : raw
}

/** A value of any kind; nested ones are checked on the way. @returns index after it */
function skipValue(json: Json, at: number, depth: number): number {
  const { text } = json
  const code = text.charCodeAt(at)
  if (code === QUOTE) return skipString(json, at)
  if (code === OPEN_BRACE) return skipObject(json, at, depth, undefined)
  if (code === OPEN_BRACKET) return skipArray(json, at, depth)
  for (;;) {
    const next = text.charCodeAt(at)
    if (next === COMMA || next === CLOSE_BRACE || next === CLOSE_BRACKET || isSpace(next) || Number.isNaN(next))
      return at
    at++
  }
}

function checkDepth(depth: number): void {
  if (depth < 0) throw new AppError('invalid_content', `The content is nested deeper than ${MAX_CONTENT_DEPTH} levels.`)
}

function skipObject(json: Json, at: number, depth: number, found: Map<string, string> | undefined): number {
  checkDepth(depth)
  const { text } = json
  const keys = new Set<string>()
  at = skipSpace(text, at + 1)
  if (text.charCodeAt(at) === CLOSE_BRACE) return at + 1
  for (;;) {
    const keyEnd = skipString(json, at)
    const key = keyAt(text, at, keyEnd)
    if (keys.has(key)) throw new AppError('invalid_content', 'An object has the same key twice.')
    keys.add(key)
    at = skipSpace(text, keyEnd)
    if (text.charCodeAt(at) !== COLON) throw notJson()
    at = skipSpace(text, at + 1)
    const end = skipValue(json, at, depth - 1)
    found?.set(key, text.slice(at, end))
    at = skipSpace(text, end)
    if (text.charCodeAt(at) === CLOSE_BRACE) return at + 1
    if (text.charCodeAt(at) !== COMMA) throw notJson()
    at = skipSpace(text, at + 1)
  }
}

function skipArray(json: Json, at: number, depth: number): number {
  checkDepth(depth)
  const { text } = json
  at = skipSpace(text, at + 1)
  if (text.charCodeAt(at) === CLOSE_BRACKET) return at + 1
  for (;;) {
    at = skipSpace(text, skipValue(json, at, depth - 1))
    if (text.charCodeAt(at) === CLOSE_BRACKET) return at + 1
    if (text.charCodeAt(at) !== COMMA) throw notJson()
    at = skipSpace(text, at + 1)
  }
}

/**
 * The raw text of each member of an object.
 * @param text JSON that JSON.parse has accepted; at its root an object
 * @param levels how deep values may nest below the root
 * @throws AppError `invalid_content` for a duplicate key, half a surrogate pair, or deeper nesting, at any level
 */
export function rawMembers(text: string, levels: number = MAX_CONTENT_DEPTH): Map<string, string> {
  return membersReader(text)(skipSpace(text, 0), levels).members
}

/**
 * For the objects inside a text, one after the other: the same as `rawMembers`.
 * @returns a function that is given where an object begins, and tells its members and where it ends
 */
export function membersReader(
  text: string,
): (at: number, levels?: number) => { members: Map<string, string>; end: number } {
  const json: Json = { text, escape: -1 }
  return (at, levels = MAX_CONTENT_DEPTH) => {
    const members = new Map<string, string>()
    return { end: skipObject(json, at, levels, members), members }
  }
}

/**
 * Content as it may be stored: an object of at most 16 KiB.
 * @param raw the content as cut out by `rawMembers`, which has checked the inside
 * @throws AppError `invalid_content`, `content_too_large`
 */
export function checkContent(raw: string | undefined): string {
  if (raw === undefined || raw.charCodeAt(0) !== OPEN_BRACE) {
    throw new AppError('invalid_content', 'content must be a JSON object.')
  }
  // A UTF-16 unit is at most three bytes: most contents need no second count.
  if (raw.length * 3 > MAX_CONTENT_BYTES && Buffer.byteLength(raw) > MAX_CONTENT_BYTES) {
    throw new AppError('content_too_large', `content is larger than ${MAX_CONTENT_BYTES} bytes.`)
  }
  return raw
}
