/** Commands as Redis' protocol has them (RESP, "Sending commands to a Redis server"). */

export type Word = string | number

/** So many words, each behind its length in bytes. */
export interface Written {
  readonly words: number
  readonly text: string
}

export const isAscii = (text: string): boolean => Buffer.byteLength(text) === text.length

/** Written in one piece, so that whoever keeps it need not put it together again. */
export function write(words: readonly Word[]): Written {
  const text = join(words, ({ length }) => length)
  // Nearly always all of it is ASCII, where bytes are characters: one count of the whole instead of one of each word.
  return { words: words.length, text: isAscii(text) ? text : join(words, (word) => Buffer.byteLength(word)) }
}

function join(words: readonly Word[], lengthOf: (word: string) => number): string {
  const parts: string[] = []
  for (const one of words) {
    const word = String(one)
    parts.push(`$${lengthOf(word)}`, word)
  }
  parts.push('')
  return parts.join('\r\n')
}

/** @returns the bytes of a command of these words */
export function toCommand(...parts: readonly Written[]): Buffer {
  let words = 0
  let text = ''
  for (const part of parts) {
    words += part.words
    text += part.text
  }
  const command = `*${words}\r\n${text}`
  return Buffer.from(command, isAscii(command) ? 'latin1' : 'utf8')
}
