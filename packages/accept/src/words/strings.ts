/** The strings of a content, found in its raw text and put back into it: all around them stays as the sender wrote it. */

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** A string value. */
export interface Found {
  /** What it says, escapes resolved. */
  readonly text: string
  /** Where a place of the text lies in the raw content. */
  rawAt(place: number): number
}

/** What a short escape stands for. */
const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/** @param at index of the opening quote @returns index of the closing one */
function closingQuote(raw: string, at: number): number {
  for (;;) {
    at = raw.indexOf('"', at + 1)
    let escapes = 0
    while (raw.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++
    if (escapes % 2 === 0) return at
  }
}

function read(raw: string, start: number, end: number): Found {
  const slice = raw.slice(start, end)
  if (!slice.includes('\\')) return { text: slice, rawAt: (place) => start + place }
  let text = ''
  const places: number[] = []
  for (let at = start; at < end; ) {
    places.push(at)
    if (raw.charCodeAt(at) !== BACKSLASH) text += raw[at++]
    else if (raw[at + 1] === 'u') {
      text += String.fromCharCode(Number.parseInt(raw.slice(at + 2, at + 6), 16))
      at += 6
    } else {
      text += ESCAPES[raw[at + 1]!] ?? raw[at + 1]!
      at += 2
    }
  }
  places.push(end)
  return { text, rawAt: (place) => places[place]! }
}

/**
 * The string values of an object, at every depth; names of members are not among them.
 * @param raw a JSON object that JSON.parse and `rawMembers` have accepted
 * @param wanted is asked for each member of the objects at this level, by its name; what is above the level is not looked at
 * @param level 1: the object itself
 */
export function* stringsOf(raw: string, wanted: (member: string) => boolean, level = 1): Generator<Found> {
  /** Of the objects and arrays that are open: is it an object? */
  const open: boolean[] = []
  let isName = false
  let isWanted = false
  for (let at = 0; at < raw.length; at++) {
    const code = raw.charCodeAt(at)
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      isName = code === OPEN_BRACE
      open.push(isName)
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      open.pop()
      if (open.length < level) isWanted = false
    } else if (code === COMMA) isName = open.at(-1)!
    else if (code === COLON) isName = false
    else if (code === QUOTE) {
      const end = closingQuote(raw, at)
      if (!isName && isWanted) yield read(raw, at + 1, end)
      else if (isName && open.length === level) isWanted = wanted(read(raw, at + 1, end).text)
      at = end
    }
  }
}
