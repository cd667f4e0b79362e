import t from 'tap'
import { checkContent, membersReader, rawMembers } from '../src/index.js'

t.test('members come back as the very text that was written', (t) => {
  const body = '{ "to" : {"user":"bob"}, "content":{"b":1e400,"a":9007199254740993, "2":-0,"1":"\\u00e9\\n"} }'
  t.equal(rawMembers(body).get('content'), '{"b":1e400,"a":9007199254740993, "2":-0,"1":"\\u00e9\\n"}')
  t.equal(rawMembers(body).get('to'), '{"user":"bob"}')
  const values = {
    a: '[1, {"a":[]} ,"x,]" , null]',
    b: '[]',
    c: '"\\\\"',
    d: '"\\""',
    e: '" , \\\\\\" "',
    f: 'true',
    g: '"x"',
  }
  const all = Object.entries(values).map(([name, value]) => `"${name}" : ${value}`)
  t.same(Object.fromEntries(rawMembers(`{${all.join(' ,\n')} }`)), values)
  t.equal(rawMembers('{}').size, 0)
  t.end()
})

t.test('objects inside a text are read one after the other', (t) => {
  const objects = ['{"a":"\\u0041\\\\"}', '{}', '{"b":"x\\"}"}', '{"c":"}"}', '{"d":{"e":"\\ud83d\\ude00"}}', '{"f":1}']
  const text = `[${objects.join()}]`
  const read = membersReader(text)
  let at = 1
  for (const object of objects) {
    const { members, end } = read(at)
    t.equal(text.slice(at, end), object)
    t.same(members, rawMembers(object))
    at = end + 1
  }
  t.end()
})

t.test('what JSON.parse lets through is refused', (t) => {
  const cases = {
    'a duplicate key': '{"content":{"a":1,"a":2}}',
    'a duplicate key in disguise': '{"content":{"a":1,"\\u0061":2}}',
    'a lone high surrogate': '{"content":{"a":"\\ud83d"}}',
    'a lone low surrogate': '{"content":{"a":"\\ude00"}}',
    'a high surrogate before text': '{"content":{"a":"\\ud83dxxxxxx"}}',
    'a lone surrogate in a key': '{"content":{"\\ud83d":1}}',
    '33 levels': `{"content":${'{"a":'.repeat(33)}1${'}'.repeat(33)}}`,
    '8,000 levels': `{"content":${'['.repeat(8000)}${']'.repeat(8000)}}`,
  }
  for (const [name, text] of Object.entries(cases)) {
    t.doesNotThrow(() => JSON.parse(text), `${name} is JSON`)
    t.throws(() => rawMembers(text), { code: 'invalid_content' }, name)
  }
  t.doesNotThrow(() => rawMembers(`{"content":${'{"a":'.repeat(31)}{}${'}'.repeat(31)}}`), '32 levels are allowed')
  t.doesNotThrow(() => rawMembers('{"content":{"a":"\\ud83d\\ude00"}}'), 'a whole pair is allowed')
  t.end()
})

t.test('text that is no JSON ends with an error, not with a loop', (t) => {
  for (const text of [
    '',
    '{',
    '{"',
    '{"a',
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,',
    '\ufeff{"a":1}',
    '{"a\\',
    '[',
    '{"a":[1',
    '{"a":{"b":"c',
  ]) {
    t.throws(() => rawMembers(text), text)
  }
  t.end()
})

t.test('content is an object of at most 16 KiB, counted in bytes', (t) => {
  const ofSize = (bytes: number) => `{"t":"${'x'.repeat(bytes - 8)}"}`
  t.equal(checkContent(ofSize(16_384)).length, 16_384)
  t.throws(() => checkContent(ofSize(16_385)), { code: 'content_too_large' })
  t.throws(() => checkContent(`{"t":"${'é'.repeat(8_190)}"}`), { code: 'content_too_large' })
  for (const bad of [undefined, '[]', '"x"', 'null', '1'])
    t.throws(() => checkContent(bad), { code: 'invalid_content' })
  t.end()
})
