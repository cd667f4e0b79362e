import { type Entry, optionsText } from '@tidings/protocol'
import t from 'tap'
import { eventOf } from '../../src/notify/events.js'

const entry: Entry = {
  ...{ id: '7', conversation: 'feed:bob', seq: 3, n: 3, from: 'ops', type: 'text', content: '{"text":"secret"}' },
  ...{ clientId: '', sentAt: 1_763_700_000_000, trace: '' },
}

t.test('what has expired when it is noted is told as a stub, and once all the same', async (t) => {
  const now = Date.now()
  const alive = eventOf({ ...entry, options: optionsText({ expiresAt: now + 60_000 })! })
  t.match(JSON.parse(alive!.body), { data: { type: 'text', content: { text: 'secret' } } })
  const expired = eventOf({ ...entry, options: optionsText({ expiresAt: now - 1 })! })
  t.match(JSON.parse(expired!.body), { event: 'message', data: { id: '7', seq: 3, type: 'expired' } })
  t.notOk(expired!.body.includes('secret'))
  t.equal(expired!.eventId, alive!.eventId)
})
