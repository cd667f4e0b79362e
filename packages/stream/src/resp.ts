/** Commands as Redis' protocol has them (RESP, "Sending commands to a Redis server"). */

export type Word = string | number

/** @returns the number of words, then each word behind its length in bytes */
export function encode(words: readonly Word[]): Buffer {
  const text = join(words, ({ length }) => length)
  // Nearly always all of it is ASCII, where bytes are characters: one count of the whole instead of one of each word.
  if (Buffer.byteLength(text) === text.length) return Buffer.from(text, 'latin1')
  return Buffer.from(join(words, (word) => Buffer.byteLength(word)))
}

function join(words: readonly Word[], lengthOf: (word: string) => number): string {
  let text = `*${words.length}\r\n`
  for (const one of words) {
    const word = typeof one === 'string' ? one : String(one)
    text += `$${lengthOf(word)}\r\n${word}\r\n`
  }
  return text
}
