/**
 * The contents of a batch's messages, each as its own text; an ill-formed message is refused alone. Expects text that JSON.parse has
 * accepted and whose root is an object with the one member `messages`, an array.
 */
import { AppError, membersReader } from '@tidings/protocol'

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
const isOpen = (code: number): boolean => code === OPEN_BRACE || code === OPEN_BRACKET
const isClose = (code: number): boolean => code === CLOSE_BRACE || code === CLOSE_BRACKET

function skipSpace(text: string, at: number): number {
  while (isSpace(text.charCodeAt(at))) at++
  return at
}

/** @param at index of the opening quote @returns index after the closing one */
function endOfString(text: string, at: number): number {
  for (;;) {
    at = text.indexOf('"', at + 1)
    let escapes = 0
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++
    if (escapes % 2 === 0) return at + 1
  }
}

/** For what is no message. Without recursion: here nesting is not bounded. @returns index after the value */
function endOfValue(text: string, at: number): number {
  let depth = 0
  for (;;) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) at = endOfString(text, at)
    else {
      if (isOpen(code)) depth++
      else if (isClose(code)) depth--
      at++
    }
    if (depth === 0 && (code === QUOTE || isClose(code) || endsScalar(text.charCodeAt(at)))) return at
  }
}

const endsScalar = (code: number): boolean => code === COMMA || isClose(code) || isSpace(code)

/** The content of a message as text, undefined where there is none, or why the message cannot be read. */
export type Cut = string | undefined | AppError

/**
 * @returns one for each element of `messages`; of what is no object there is no content
 * @throws AppError `invalid_json` when the root has `messages` twice
 */
export function cutContents(text: string): Cut[] {
  const membersAt = membersReader(text)
  const found: Cut[] = []

  /** @returns index after the message */
  function cut(at: number): number {
    if (text.charCodeAt(at) === OPEN_BRACE) {
      try {
        const { members, end } = membersAt(at)
        found.push(members.get('content'))
        return end
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        found.push(error)
      }
    } else found.push(undefined)
    return endOfValue(text, at)
  }

  let at = text.indexOf('[') + 1
  for (;;) {
    at = skipSpace(text, at)
    if (text.charCodeAt(at) === CLOSE_BRACKET) break
    at = skipSpace(text, cut(at))
    if (text.charCodeAt(at) === COMMA) at++
  }
  if (text.charCodeAt(skipSpace(text, at + 1)) !== CLOSE_BRACE) {
    throw new AppError('invalid_json', 'An object has the same key twice.')
  }
  return found
}
