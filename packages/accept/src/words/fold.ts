/**
 * Text as the word list sees it: so that what looks alike is alike. Compatibility forms (fullwidth, circled, ligatures), case, accents and
 * what cannot be seen make no difference; every unit of the result remembers which characters of the text it came from.
 */

/** What may stand between the letters of a word and is passed over. */
export type Ignore = 'none' | 'punctuation' | 'all'

/** A folded text: UTF-16 units, and for each where the characters that it came from begin and end in the text. */
export interface Folded {
  readonly units: readonly number[]
  readonly from: readonly number[]
  readonly to: readonly number[]
}

/** Code points whose pieces are remembered; all of them are forgotten when there are more. */
const MAX_KEPT = 20_000

const INVISIBLE = /^[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Cc}]$/u
const SPACE = /^\p{White_Space}$/u
const WORDLIKE = /^[\p{L}\p{N}\p{M}]$/u
/** Accents and other marks that belong to no script of their own, except the two that tell one kana from another. */
const MARKS = /(?![\u3099\u309a])(?=\p{M})\p{Script=Inherited}/gu
/** White letters on black circles and squares, which have no compatibility form; each range is A to Z. */
const BLACK_LETTERS = [0x1f150, 0x1f170]
const LETTERS = 26

/** What a code point becomes: units; an empty text is passed over. */
function pieceOf(point: number): string {
  const char = String.fromCodePoint(point)
  if (INVISIBLE.test(char) && !SPACE.test(char)) return ''
  const black = BLACK_LETTERS.find((first) => point >= first && point < first + LETTERS)
  if (black !== undefined) return String.fromCharCode(0x61 + point - black)
  // Upper case first: ß is ss, and the three sigmas are one.
  const cased = char.normalize('NFKD').toUpperCase().toLowerCase()
  return cased.normalize('NFKD').replace(MARKS, '').normalize('NFC')
}

const pieces = new Map<number, string>()

function piece(point: number): string {
  let known = pieces.get(point)
  if (known === undefined) {
    if (pieces.size >= MAX_KEPT) pieces.clear()
    known = pieceOf(point)
    pieces.set(point, known)
  }
  return known
}

/** Sound marks of kana, and the vowels and finals of Hangul: typed apart, they become one with what is before them. */
const joins = (unit: number): boolean =>
  unit === 0x3099 || unit === 0x309a || (unit >= 0x1161 && unit <= 0x1175) || (unit >= 0x11a8 && unit <= 0x11c2)

const wordlike = new Map<number, boolean>()

/** Is it part of a word: a letter, a digit, a mark? */
export function isWordlike(point: number): boolean {
  if (point < 0x80)
    return (point > 0x60 && point < 0x7b) || (point > 0x2f && point < 0x3a) || (point > 0x40 && point < 0x5b)
  let known = wordlike.get(point)
  if (known === undefined) {
    if (wordlike.size >= MAX_KEPT) wordlike.clear()
    known = WORDLIKE.test(String.fromCodePoint(point))
    wordlike.set(point, known)
  }
  return known
}

const isSpace = (point: number): boolean =>
  point === 0x20 || (point < 0x80 ? point > 8 && point < 14 : SPACE.test(String.fromCodePoint(point)))

/** Is this character passed over, where these are? */
function isIgnored(point: number, ignore: Ignore): boolean {
  if (ignore === 'none' || isWordlike(point)) return false
  return ignore === 'all' || !isSpace(point)
}

/** Of ASCII, which needs no table. */
const isPrintable = (point: number): boolean => point < 0x7f && point > 0x1f

const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff

/** The code point that ends before this place of a folded text. */
export const pointBefore = ({ units }: Folded, at: number): number =>
  isLow(units[at - 1]!) && at > 1 ? toPoint(units[at - 2]!, units[at - 1]!) : units[at - 1]!

/** The code point that begins at this place. */
export const pointAt = ({ units }: Folded, at: number): number =>
  units[at]! >= 0xd800 && units[at]! <= 0xdbff && at + 1 < units.length
    ? toPoint(units[at]!, units[at + 1]!)
    : units[at]!

const toPoint = (high: number, low: number): number => (high - 0xd800) * 0x400 + (low - 0xdc00) + 0x10000

/** Folds a text. Takes time in proportion to its length, whatever is in it. */
export function fold(text: string, ignore: Ignore): Folded {
  const units: number[] = []
  const from: number[] = []
  const to: number[] = []

  /** Belongs to the unit before it, if there is one. */
  const extend = (end: number): void => {
    if (to.length > 0) to[to.length - 1] = end
  }

  for (let at = 0; at < text.length; ) {
    const point = text.codePointAt(at)!
    const start = at
    at += point > 0xffff ? 2 : 1
    if (isPrintable(point)) {
      if (isIgnored(point, ignore)) continue
      units.push(point > 0x40 && point < 0x5b ? point + 32 : point)
      from.push(start)
      to.push(at)
      continue
    }
    const folded = piece(point)
    if (folded === '') extend(at)
    for (let i = 0; i < folded.length; i++) {
      const unit = folded.charCodeAt(i)
      if (isIgnored(folded.codePointAt(isLow(unit) ? i - 1 : i)!, ignore)) continue
      if (joins(unit) && joined(units, unit)) {
        extend(at)
        continue
      }
      units.push(unit)
      from.push(start)
      to.push(at)
    }
  }
  return { units, from, to }
}

/** Makes one unit of the last one and this, where there is such a character. */
function joined(units: number[], unit: number): boolean {
  const last = units.length - 1
  if (last < 0) return false
  const both = String.fromCharCode(units[last]!, unit).normalize('NFC')
  if (both.length > 1) return false
  units[last] = both.charCodeAt(0)
  return true
}

/** How many characters of a text can be seen: a mark belongs to what it is on. */
export function countVisible(text: string): number {
  let count = 0
  for (const char of text) if (isPrintable(char.codePointAt(0)!) || piece(char.codePointAt(0)!) !== '') count++
  return count
}
