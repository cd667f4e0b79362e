import t from 'tap'
import { toCommand, type Word, write } from '../src/resp.js'

const encode = (words: Word[]): Buffer => toCommand(write(words))

t.test('each word stands behind its length in bytes, whatever its characters', async (t) => {
  t.equal(encode(['SET', 'key', 12, '']).toString(), '*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$2\r\n12\r\n$0\r\n\r\n')
  const words = ['é', '汉字', '👩‍👩‍👧', 'a\r\nb', 'plain', '\u0000', 'ÿ', -1.5]
  const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`)
  t.equal(encode(words).toString(), `*${words.length}\r\n${parts.join('')}`)
})
