import t from 'tap'
import { hasRuns, marksOf, termsOf, wordsOf } from '../src/search-words.js'

const tokens = (text: string) => wordsOf(text).map(({ token }) => token)
/** Would a text be found? As the database does it: every term is a word there, or the beginning of one. */
const found = (text: string, question: string): boolean => {
  const words = tokens(text)
  return (
    hasRuns(text, question) &&
    termsOf(question).every(({ token, prefix }) =>
      words.some((word) => (prefix ? word.startsWith(token) : word === token)),
    )
  )
}

t.test('words of scripts with spaces are words, in compatible form and lower case', async (t) => {
  t.same(tokens('The  HELLO-world, a 2nd'), ['tokthe', 'tokhello', 'tokworld', 'toka', 'tok2nd'])
  t.same(tokens('ｈｅｌｌｏ ﬁne Straße'), ['tokhello', 'tokfine', 'tokstraz00dfe'])
  t.same(tokens('cafe\u0301'), tokens('caf\u00e9'), 'however it is composed')
  t.same(tokens('ZZ_z'), ['tokz007az007az005fz007a'])
  t.same(tokens('👩‍👩‍👧 !? …'), [])
  t.ok(
    tokens(`${'x'.repeat(500)} ${'漢'.repeat(3)}`).every((token) => token.length <= 84 && token.length >= 4),
    'as short and as long as any server takes',
  )
})

t.test('Chinese is found by any part of it', async (t) => {
  const text = '明天的会议改到三点'
  for (const question of ['会议', '明天', '三点', '会', '点', '的会议改', text]) t.ok(found(text, question), question)
  for (const question of ['议会', '今天', '会三', '明天三点']) t.notOk(found(text, question), question)
  t.ok(found(text, '三点 明天'), 'apart, if it is asked for apart')
  t.notOk(found('的会开。会议', '的会议'), 'pairs that stand apart are no stretch')
  t.ok(found('我的iPhone15手机坏了', 'iphone15 手机'))
  t.ok(found('用ＡＢＣ测试', 'abc测试'), 'mixed, full width')
  t.ok(found('ｶﾞｷﾞ', 'ガギ'), 'half-width kana')
  t.ok(found('회의는 내일', '회의'), 'Korean words carry endings')
  t.ok(found('ประชุมพรุ่งนี้', 'พรุ่งนี้'))
})

t.test('the last word may be the beginning of one', async (t) => {
  t.ok(found('we are meeting', 'meet'))
  t.ok(found('we are meeting', 'we meet'))
  t.notOk(found('we are meeting', 'meet we'))
  t.notOk(found('we are meeting', 'meet '))
  t.notOk(found('apple', 'a'), 'one letter says too little')
  t.same(termsOf('a a  A ab'), [
    { token: 'toka', prefix: false },
    { token: 'tokab', prefix: true },
  ])
  t.same(termsOf(' ?! '), [])
})

t.test('marks are places in the text as it was written', async (t) => {
  const marked = (text: string, question: string) =>
    marksOf(text, termsOf(question)).map(([from, to]) => text.slice(from, to))
  t.same(marked('Hello, HELLO helloing', 'hello '), ['Hello', 'HELLO'])
  t.same(marked('明天的会议改到三点', '会议改'), ['会议改'])
  t.same(marked('👩‍👩‍👧 ﬁne ｆｉｎｅ', 'fine'), ['ﬁne', 'ｆｉｎｅ'])
})

t.end()
