import t from 'tap'
import { dmId, isParty, messageFrame, parseConversation, requireParty } from '../src/index.js'

t.test('a conversation id is sorted by bytes, and nothing else parses', (t) => {
  t.equal(dmId('bob', 'alice'), 'dm:alice:bob')
  t.equal(dmId('alice', 'Bob'), 'dm:Bob:alice', 'upper case sorts first')
  t.equal(dmId('alice', 'alice'), 'dm:alice:alice', 'notes to self')
  t.match(parseConversation('dm:alice:bob'), { kind: 'dm', users: ['alice', 'bob'] })
  t.match(parseConversation('room:abcdefghij012345'), { kind: 'room', room: 'abcdefghij012345' })
  t.match(parseConversation('feed:bob'), { kind: 'feed', user: 'bob' })
  t.match(parseConversation('feed:*'), { kind: 'everyone' })
  for (const bad of [
    '',
    'dm:bob:alice',
    'dm:alice',
    'dm:alice:bob:eve',
    'room:',
    'room:short',
    'feed:',
    'dm:a b:c',
    'x:y',
    'dm:{1}:a',
  ]) {
    t.equal(parseConversation(bad), undefined, bad)
  }
  t.end()
})

t.test('who is a party', (t) => {
  t.ok(isParty(parseConversation('dm:alice:bob')!, 'bob'))
  t.notOk(isParty(parseConversation('dm:alice:bob')!, 'Bob'), 'ids are compared byte for byte')
  t.throws(() => requireParty('dm:alice:bob', 'eve'), { code: 'conversation_not_found' })
  t.throws(() => requireParty('nonsense', 'eve'), { code: 'conversation_not_found' })
  t.end()
})

t.test('a frame holds the content as it was written', (t) => {
  const frame = messageFrame({
    id: '7261234567890123456',
    conversation: 'dm:alice:bob',
    seq: 42,
    n: 40,
    from: 'alice',
    type: 'text',
    content: '{"n":9007199254740993, "t":"hi"}',
    clientId: 'c-1',
    sentAt: 1763700000000,
    trace: '',
  })
  t.ok(frame.includes('"content":{"n":9007199254740993, "t":"hi"}'))
  t.same(Object.keys(JSON.parse(frame).message), [
    'id',
    'conversation',
    'seq',
    'from',
    'type',
    'content',
    'clientId',
    'sentAt',
  ])
  t.end()
})
