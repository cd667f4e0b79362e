import t from 'tap'
import { type PushEntry, packPushes, unpackPushes } from '../src/index.js'

const entry = (over: Partial<PushEntry<string>>): PushEntry<string> => ({
  partition: 3,
  fence: 9_007_199_254_740_991,
  conversation: 'dm:alice:bob',
  seq: 7,
  frame: '{"op":"message"}',
  users: ['alice', 'bob'],
  trace: '',
  members: false,
  fleeting: false,
  ...over,
})

t.test('pushes are the same after their way, frames of any characters and of none among them', (t) => {
  const entries = [
    entry({ frame: '{"text":"👩‍👩‍👧‍👦 汉字"}' }),
    entry({ seq: 8, frame: '', trace: 'by hand: "\n] é' }),
    entry({ conversation: 'feed:carol', users: ['carol'], frame: 'é' }),
  ]
  const packed = packPushes(entries)
  t.same(
    unpackPushes(packed).map((each) => ({ ...each, frame: each.frame.toString() })),
    entries,
  )
  t.equal(packed.frames.toString(), entries.map(({ frame }) => frame).join(''))
  t.same(unpackPushes(packPushes([])), [])
  t.end()
})
