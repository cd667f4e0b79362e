/** The word filter alone: what it sees, what it masks, and how long it takes. */
import { randomInt } from 'node:crypto'
import { rawMembers } from '@tidings/protocol'
import t, { type Test } from 'tap'
import { examine, MAX_WORDS, parseWords, type ReadyWords, readyWords, type Verdict } from '../src/index.js'

const ready = async (list: object): Promise<ReadyWords> => (await readyWords(parseWords(JSON.stringify(list))))!

/** @returns what becomes of a text; the text alone when nothing was found */
function seen(list: ReadyWords, text: string, type = 'text'): string | Verdict {
  const verdict = examine(list, { conversation: 'dm:alice:bob', type, content: JSON.stringify({ text }) })
  if (!verdict || verdict.rejected || verdict.flagged.length > 0) return verdict ?? text
  return (JSON.parse(verdict.content) as { text: string }).text
}

async function masks(t: Test, list: object, cases: [text: string, masked: string][]): Promise<void> {
  const words = await ready(list)
  for (const [text, masked] of cases) t.equal(seen(words, text), masked, JSON.stringify(text))
}

t.test('what looks alike is alike, and what is masked is exactly what was hit', async (t) => {
  await masks(t, { words: ['bad', 'Straße', 'ŒUVRE', '敏感词', 'ガキ', '바보', 'नमक'] }, [
    ['a bad day', 'a *** day'],
    ['BAD Bad bAd', '*** *** ***'],
    ['ｂａｄ ⓑⓐⓓ 𝓫𝓪𝓭 🅑🅐🅓 🅱🅰🅳', '*** *** *** *** ***'],
    ['bád b\u0301a\u0327d\u0334\u0335!', '*** ***!'],
    ['b\u200ba\u00add \u202ebad\u202c', '*** \u202e***'],
    ['b\ufe0fa\u0000d', '***'],
    ['STRASSE straße Strasse', '******* ****** *******'],
    ['œuvre', '*****'],
    ['这是敏感词吗', '这是***吗'],
    ['がき ガキ ｶﾞｷ カ\u3099キ', 'がき ** *** ***'],
    ['바보 \u1107\u1161\u1107\u1169', '** ****'],
    ['नमक नमकीन', '*** ***ीन'],
    ['😀bad😀', '😀***😀'],
    ['👩‍👩‍👧bad', '👩‍👩‍👧***'],
    ['nothing of it', 'nothing of it'],
  ])
  await masks(t, { words: ['𠮷野', '🖕'] }, [
    ['a𠮷野家b', 'a**家b'],
    ['no 🖕🏿 no', 'no *🏿 no'],
    ['🖔', '🖔'],
  ])
})

t.test('letters that stand apart are a word only where the list says so', async (t) => {
  await masks(t, { words: ['bad'] }, [['b.a.d b a d', 'b.a.d b a d']])
  await masks(t, { ignore: 'punctuation', words: ['bad', '敏感'] }, [
    ['b.a-d!', '*****!'],
    ['b a d', 'b a d'],
    ['敏*感 ⒝⒜⒟', '*** ***'],
  ])
  await masks(t, { ignore: 'all', words: ['bad'] }, [['so b a\td, so', 'so *****, so']])
})

t.test('a whole word is not found inside another one', async (t) => {
  await masks(t, { whole: true, words: ['ass', 'hole', { word: 'damn', whole: false }] }, [
    ['class assess ass', 'class assess ***'],
    ['ass, (ASS) "ass"', '***, (***) "***"'],
    ['äss assé ass1', '*** assé ass1'],
    ['goddamned', 'god****ed'],
  ])
  await masks(t, { whole: true, ignore: 'punctuation', words: ['ass'] }, [
    ['a.s.s cl.a.s.s', '***** cl.*****'],
    ['class a-s-s-1', 'class *****-1'],
  ])
})

t.test('of words that overlap all are masked; the strictest action counts', async (t) => {
  await masks(t, { words: ['he', 'she', 'hers'] }, [['ushers', 'u*****']])
  await masks(t, { words: ['aa', 'aaa', { word: 'ab', action: 'mask' }] }, [['xaaaab', 'x*****']])
  // What is masked is looked at again: with its stars it may be a word.
  await masks(t, { words: ['x', 'f*ck'] }, [['fxck', '****']])
  await masks(t, { ignore: 'all', words: ['bad'] }, [['bbadad', '******']])
  const list = await ready({
    action: 'flag',
    words: ['odd', { word: 'bad', action: 'mask' }, { word: 'vile', action: 'reject' }],
  })
  t.match(seen(list, 'odd bad Odd'), { rejected: false, flagged: ['odd'], content: '{"text":"odd *** Odd"}' })
  t.match(seen(list, 'odd bad vile'), { rejected: true })
  t.equal(seen(list, 'fine'), 'fine')
})

t.test('escapes are no way around, and all else of the content stays as it was written', async (t) => {
  const list = await ready({ words: ['bad', '敏感'] })
  const cases: [content: string, type: string, masked: string | undefined][] = [
    ['{"text":"\\u0062\\u0061\\u0064 \\u654f感"}', 'text', '{"text":"*** **"}'],
    ['{"text":"\\"bad\\"\\n\\/bad\\\\bad"}', 'text', '{"text":"\\"***\\"\\n\\/***\\\\***"}'],
    [
      '{"text":"b\\u200bad","n":12345678901234567890, "a" :[ "bad" , {"z":"bad","y":1e5}]}',
      'x-app',
      '{"text":"***","n":12345678901234567890, "a" :[ "***" , {"z":"***","y":1e5}]}',
    ],
    ['{"bad":"good","replyTo":"bad"}', 'text', undefined],
    ['{"t":["b","ad"]}', 'text', undefined],
    [
      '{"url":"https://x/bad.png","name":"bad.png","caption":"so bad","meta":{"name":"bad"}}',
      'image',
      '{"url":"https://x/bad.png","name":"***.png","caption":"so ***","meta":{"name":"bad"}}',
    ],
    [
      '{"target":"42","seq":7,"content":{"text":"bad","url":"bad","replyTo":"bad"}}',
      'edit',
      '{"target":"42","seq":7,"content":{"text":"***","url":"bad","replyTo":"bad"}}',
    ],
    ['{"target":"42","seq":7,"emoji":"bad","action":"add"}', 'reaction', undefined],
    ['{"text":"bad"}', 'system', undefined],
    ['{}', 'text', undefined],
  ]
  for (const [content, type, masked] of cases) {
    t.equal(examine(list, { conversation: 'dm:alice:bob', type, content })?.content, masked, `${type} ${content}`)
  }
})

t.test('a room has its own action, its own words, or no filter', async (t) => {
  const [strict, own, off, other] = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(16)) as [
    string,
    string,
    string,
    string,
  ]
  const list = await ready({
    words: ['bad', { word: 'odd', action: 'flag' }],
    rooms: { [strict]: { action: 'reject' }, [own]: { words: ['local'] }, [off]: { off: true } },
  })
  const inRoom = (room: string, text: string) =>
    examine(list, { conversation: `room:${room}`, type: 'text', content: JSON.stringify({ text }) })
  t.match(inRoom(strict, 'odd'), { rejected: true })
  t.match(inRoom(own, 'bad local'), { content: '{"text":"*** *****"}', rejected: false })
  t.equal(inRoom(off, 'bad odd'), undefined)
  t.match(inRoom(other, 'bad local'), { content: '{"text":"*** local"}' })
  t.equal(examine(list, { conversation: 'dm:alice:bob', type: 'text', content: '{"text":"local"}' }), undefined)
})

t.test('a document that is not right is refused, and says where', async (t) => {
  const room = 'a'.repeat(16)
  const wrong: [text: string, message: RegExp][] = [
    ['{', /not valid JSON/],
    ['[]', /must be an object/],
    ['{}', /must have words/],
    ['{"words":"bad"}', /^words must be an array/],
    ['{"words":[""]}', /^words\[0\] must be a word/],
    ['{"words":["a",7]}', /^words\[1\] must be an object/],
    [`{"words":["${'a'.repeat(65)}"]}`, /^words\[0\] must be a word of 1 to 64/],
    ['{"words":[{"word":"a","action":"ban"}]}', /^words\[0\].action must be one of flag, mask, reject/],
    ['{"words":[{"word":"a","whole":1}]}', /^words\[0\].whole must be true or false/],
    ['{"words":[],"wrods":[]}', /has no member wrods/],
    ['{"words":["\\udc00"],"ignore":"all"}', /^words\[0\] has half of a surrogate pair/],
    ['{"words":["ok","a\\ud83d"],"ignore":"punctuation"}', /^words\[1\] has half of a surrogate pair/],
    ['{"words":[],"ignore":"letters"}', /^ignore must be one of/],
    ['{"words":[],"rooms":[]}', /^rooms must be an object/],
    ['{"words":[],"rooms":{"lobby":{}}}', /^rooms.lobby is no room/],
    [`{"words":[],"rooms":{"${room}":{"action":"mute"}}}`, /^rooms.a{16}.action/],
    [JSON.stringify({ words: Array.from({ length: MAX_WORDS + 1 }, () => 'a') }), /more than 20000 words/],
    [JSON.stringify({ words: Array.from({ length: 20_000 }, () => '汉'.repeat(20)) }), /larger than 1048576 bytes/],
  ]
  for (const [text, message] of wrong) t.throws(() => parseWords(text), { message }, text.slice(0, 60))
  for (const list of [{ words: ['\u200b'] }, { ignore: 'punctuation', words: ['ok', '***'] }]) {
    await t.rejects(readyWords(parseWords(JSON.stringify(list))), { code: 'invalid_request', message: /has nothing/ })
  }
  t.equal(await readyWords(parseWords('{"words":[]}')), undefined, 'an empty list is no work at all')
})

/** The same numbers for the same seed. */
function chance(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

t.test(
  'after masking nothing is left to mask, nothing else has changed, and both are what a plain search says',
  async (t) => {
    const seed = randomInt(2 ** 31)
    t.comment(`seed ${seed}`)
    const below = chance(seed)
    const letters = [
      'a',
      'b',
      'c',
      'A',
      'é',
      'e',
      'ß',
      's',
      '汉',
      '字',
      '😀',
      '\u0301',
      '\u200b',
      ' ',
      '"',
      '\\',
      '\n',
      'ﬁ',
      'ｂ',
    ]
    const some = (most: number): string =>
      Array.from({ length: 1 + below(most) }, () => letters[below(letters.length)]!).join('')
    for (let round = 0; round < 3_000; round++) {
      const words = Array.from({ length: 1 + below(6) }, () => `a${some(4)}`)
      const list = await ready({ words })
      const text = some(40)
      const content = `{"a":1.50,"text":${JSON.stringify(text)},"b":[]}`
      const verdict = examine(list, { conversation: 'dm:a:b', type: 'text', content })
      const plain = (one: string): string =>
        one
          .normalize('NFKD')
          .toUpperCase()
          .toLowerCase()
          .normalize('NFKD')
          .replace(/[\u0301\u200b]/g, '')
      const isHit = (one: string): boolean => words.some((word) => plain(one).includes(plain(word)))
      if (isHit(text) !== (verdict !== undefined)) t.fail(`${seed}: ${JSON.stringify({ words, text, verdict })}`)
      if (!verdict) continue
      rawMembers(verdict.content)
      const { text: masked } = JSON.parse(verdict.content) as { text: string }
      const around = /^\{"a":1\.50,"text":".*","b":\[\]\}$/s.test(verdict.content)
      // What stands between the stars was there before, in this order.
      const kept = masked.split('*').filter((part) => part !== '')
      let at = 0
      const inOrder = kept.every((part) => {
        const found = text.indexOf(part, at)
        at = found + part.length
        return found !== -1
      })
      const again = examine(list, { conversation: 'dm:a:b', type: 'text', content: verdict.content })
      if (!around || !inOrder || again || isHit(masked)) {
        t.fail(`${seed}: ${JSON.stringify({ words, text, masked, around, inOrder, again })}`)
      }
    }
  },
)

t.test('20,000 words: how long it takes is told, and that nothing is held up by it', async (t) => {
  const below = chance(7)
  const word = (): string => Array.from({ length: 4 + below(9) }, () => String.fromCharCode(97 + below(26))).join('')
  const text = JSON.stringify({ words: Array.from({ length: MAX_WORDS }, word) })
  const cpu = (name: string, times: number, run: () => unknown): void => {
    for (let i = 0; i < 20; i++) run()
    const before = process.cpuUsage()
    for (let i = 0; i < times; i++) run()
    const { user, system } = process.cpuUsage(before)
    t.comment(`${name}: ${((user + system) / times).toFixed(1)} µs of CPU`)
  }
  let turns = 0
  let building = true
  const turn = (): void => {
    turns++
    if (building) setImmediate(turn)
  }
  setImmediate(turn)
  const before = process.cpuUsage()
  const list = (await readyWords(parseWords(text)))!
  const { user, system } = process.cpuUsage(before)
  building = false
  t.comment(`parsing and building: ${((user + system) / 1_000).toFixed(0)} ms of CPU in ${turns} turns`)
  t.ok(turns > 5, 'the event loop turned meanwhile')
  t.equal(list.count, MAX_WORDS)
  const draft = (said: string) => ({ conversation: 'dm:a:b', type: 'text', content: JSON.stringify({ text: said }) })
  const sentence = draft('hello there, this is an ordinary message to a friend, see you at nine')
  const long = draft(
    Array.from({ length: 2_600 }, () => `${word()}0`)
      .join(' ')
      .slice(0, 16_000),
  )
  const chinese = draft('这是一个普通的消息，没有任何问题。'.repeat(300))
  cpu('a sentence of 70 letters', 20_000, () => examine(list, sentence))
  cpu('16 KiB of letters at random', 200, () => examine(list, long))
  cpu('16 KiB of Chinese', 200, () => examine(list, chinese))
  const nested = await ready({ words: Array.from({ length: 64 }, (_, i) => 'a'.repeat(i + 1)) })
  cpu('16 KiB of which all is 64 words over each other', 50, () => examine(nested, draft('a'.repeat(16_000))))
})
