/**
 * The words of a text, made by ourselves, so that every server finds the same: neither a server's least length of a word nor its list of
 * words to pass over counts, and no parser for Chinese is needed.
 *
 * Text is compared in compatible composed form (NFKC) and lower case. Where a script has spaces, a word is a word. Where it has none
 * (Chinese, Japanese, Thai, and Korean, whose words carry endings), every two characters that follow each other are one, and the last
 * character of a run one by itself: so 「会议」 is found within 「明天的会议改到三点」, and a single character as the beginning of a pair.
 *
 * As the database sees it, a word is `tok` and its letters; what is no letter from a to y and no digit is `z` and four hex digits. A word
 * that begins as another does is so there, too.
 */

/** What belongs to the character before it: marks, half-width voicing, the later parts of a decomposed Hangul syllable. */
const CLUSTER = /[\s\S][\p{M}\uFF9E\uFF9F\u1160-\u11FF]*/gu
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}ー々〆]/u
const SPACED = /[\p{L}\p{M}\p{N}_]/u
const PLAIN = /[a-y0-9]/
const ALL_PLAIN = /^[a-y0-9]+$/

const PREFIX = 'tok'
/** innodb_ft_max_token_size: what is longer is not in the index. */
const LONGEST = 84

/** A word where it stands. */
export interface Word {
  /** As it is in the index. */
  token: string
  /** In UTF-16 units of the text. */
  from: number
  to: number
}

/** What is looked for. */
export interface Term {
  token: string
  /** Words that begin so count, too. */
  prefix: boolean
}

/** A character as it is compared, and where it stands. */
interface Char {
  text: string
  from: number
  to: number
}

interface Run {
  spaced: boolean
  chars: Char[]
}

function encode(chars: readonly Char[]): string {
  const [first] = chars
  if (first && chars.length === 1 && ALL_PLAIN.test(first.text)) return (PREFIX + first.text).slice(0, LONGEST)
  let token = PREFIX
  for (const { text } of chars) {
    for (let i = 0; i < text.length && token.length < LONGEST; i++) {
      const unit = text[i]!
      token += PLAIN.test(unit) ? unit : `z${text.charCodeAt(i).toString(16).padStart(4, '0')}`
    }
  }
  return token.slice(0, LONGEST)
}

/** Stretches of one kind of script, in order. */
function runsOf(text: string): Run[] {
  const runs: Run[] = []
  let run: Run | undefined
  for (const { 0: cluster, index } of text.matchAll(CLUSTER)) {
    for (const char of cluster.normalize('NFKC').toLowerCase()) {
      const unspaced = UNSPACED.test(char)
      if (!unspaced && !SPACED.test(char)) {
        run = undefined
        continue
      }
      if (run?.spaced !== !unspaced) {
        run = { spaced: !unspaced, chars: [] }
        runs.push(run)
      }
      run.chars.push({ text: char, from: index, to: index + cluster.length })
    }
  }
  return runs
}

const wordOf = (chars: readonly Char[]): Word => ({
  token: encode(chars),
  from: chars[0]!.from,
  to: chars.at(-1)!.to,
})

const pairsOf = (chars: readonly Char[]): Word[] => chars.slice(1).map((char, i) => wordOf([chars[i]!, char]))

/** Half of what is said somewhere; it needs no look at each character. */
const PLAIN_TEXT = /^[ -~\s]*$/

const plainWords = (text: string): Word[] =>
  Array.from(text.toLowerCase().matchAll(/[a-z0-9_]+/g), ({ 0: word, index }) => ({
    token: encode([{ text: word, from: index, to: index + word.length }]),
    from: index,
    to: index + word.length,
  }))

/** The words of a text in their order, as they are put into the index. */
export function wordsOf(text: string): Word[] {
  if (PLAIN_TEXT.test(text)) return plainWords(text)
  return runsOf(text).flatMap(({ spaced, chars }) =>
    spaced ? [wordOf(chars)] : [...pairsOf(chars), wordOf([chars.at(-1)!])],
  )
}

/**
 * What a question asks for; all of it must be there. The last word may be the beginning of one, unless a space follows it.
 * @returns each once
 */
export function termsOf(question: string): Term[] {
  const runs = runsOf(question)
  const open = /[\p{L}\p{M}\p{N}_]$/u.test(question)
  const terms = runs.flatMap(({ spaced, chars }, i): Term[] => {
    if (!spaced && chars.length > 1) return pairsOf(chars).map(({ token }) => ({ token, prefix: false }))
    const last = open && i === runs.length - 1
    return [{ token: encode(chars), prefix: spaced ? last && chars.length > 1 : true }]
  })
  const widest = new Map<string, Term>()
  for (const term of terms) if (!widest.get(term.token)?.prefix) widest.set(term.token, term)
  return [...widest.values()]
}

/** Does a text have every stretch of unspaced script of the question as it is there? Pairs alone may stand apart. */
export function hasRuns(text: string, question: string): boolean {
  const flat = (runs: readonly Run[]): string =>
    runs.map(({ chars }) => chars.map((char) => char.text).join('')).join(' ')
  const within = flat(runsOf(text))
  return runsOf(question)
    .filter(({ spaced, chars }) => !spaced && chars.length > 2)
    .every((run) => within.includes(flat([run])))
}

/** Where the words that are looked for stand in a text; neighbours are one. */
export function marksOf(text: string, terms: readonly Term[]): [from: number, to: number][] {
  const marks: [number, number][] = []
  for (const { token, from, to } of wordsOf(text)) {
    if (!terms.some((term) => (term.prefix ? token.startsWith(term.token) : token === term.token))) continue
    const last = marks.at(-1)
    if (last && from <= last[1]) last[1] = Math.max(last[1], to)
    else marks.push([from, to])
  }
  return marks
}
