/** What a push may ask for: as text, as a member of the message, and when its time is over. */
import t from 'tap'
import { type Entry, isExpired, messageJson, optionsText, parseOptions, roomEventOf, seenNow } from '../src/index.js'

const entry = (over: Partial<Entry> = {}): Entry => ({
  id: '7',
  conversation: 'feed:alice',
  seq: 3,
  n: 3,
  from: 'service:shop',
  type: 'system',
  content: '{"title":"Shipped"}',
  clientId: 'k',
  sentAt: 1_000,
  trace: '',
  ...over,
})

t.test('options come back from their text as they were, and nothing else is read as options', (t) => {
  for (const options of [
    { expiresAt: 5 },
    { priority: 'high' as const },
    { expiresAt: 5, priority: 'high' as const, collapseKey: 'k', collapses: 3 },
  ])
    t.same(parseOptions(optionsText(options)!), options)
  t.equal(optionsText({}), undefined)
  for (const text of [
    ...['{"collapses":3}', '{"collapseKey":"a b"}', '{"collapseKey":"k","collapses":0}'],
    ...['', '{}', '{"expiresAt":}', '{"expiresAt":05}', '{"expiresAt":"5"}', '{"priority":"low"}', '{"expiresAt":5,}'],
    ...[
      '{,"priority":"high"}',
      '{"expiresAt":5"priority":"high"}',
      '{"expiresAt":5}}',
      ' {"expiresAt":5}',
      '[]',
      'null',
    ],
  ])
    t.equal(parseOptions(text), undefined, text)
  t.end()
})

t.test('a message shows what it was pushed with; when its time is over it is a stub', (t) => {
  const options = optionsText({ expiresAt: 2_000, priority: 'high' })!
  const pushed = entry({ options })
  t.match(JSON.parse(messageJson(pushed)), { expiresAt: 2_000, priority: 'high', content: { title: 'Shipped' } })
  t.equal(seenNow(pushed, 1_999), pushed)
  t.equal(isExpired(pushed, 2_000), true)
  t.same(JSON.parse(messageJson(seenNow(pushed, 2_000))), {
    ...{ id: '7', conversation: 'feed:alice', seq: 3, from: 'service:shop', type: 'expired', sentAt: 1_000 },
  })
  for (const plain of [entry(), entry({ options: '' }), entry({ options: '{"priority":"high"}' })])
    t.equal(seenNow(plain, Number.MAX_SAFE_INTEGER), plain, 'others never end')
  t.end()
})

t.test('what a server pushes is no change of a room, whatever it says', (t) => {
  const event = { type: 'system', clientId: 'room.2', content: '{"event":"room","change":"removed","left":["bob"]}' }
  t.ok(roomEventOf(entry({ ...event, from: 'alice' })))
  t.equal(roomEventOf(entry({ ...event, from: 'service:alice' })), undefined)
  t.end()
})
