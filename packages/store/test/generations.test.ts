import t from 'tap'
import { generationLedger, insertEntries, maxSeq, raiseFence } from '../src/index.js'
import { entryOf, freshDatabase } from './world.js'

const { store } = await freshDatabase(t)

t.test('a row changes only as it was seen, and its number never goes back', async (t) => {
  const ledger = generationLedger(store, 1)
  t.equal(await ledger.read(), undefined)
  t.equal(await ledger.write(undefined, { number: 1, closed: '' }), true)
  t.equal(await ledger.write(undefined, { number: 1, closed: '' }), false, 'somebody was first')
  t.equal(await ledger.write({ number: 1, closed: '' }, { number: 2, closed: '' }), true)
  t.equal(await ledger.write({ number: 1, closed: '' }, { number: 2, closed: '' }), false)
  t.same(await ledger.read(), { number: 2, closed: '' })
})

t.test('what was in hand when a generation was lost is not stored, before it was claimed and read again', async (t) => {
  const ledger = generationLedger(store, 2)
  const c = 'dm:alice:hand'
  const inHand = (seq: number, fence: number) => [{ partition: 2, fence, entry: entryOf(c, seq) }]
  await ledger.write(undefined, { number: 1, closed: '' })
  await raiseFence(store, 'persist', 2, 5)
  await insertEntries(store, inHand(1, 5), 'persist')
  await ledger.write({ number: 1, closed: '' }, { number: 1, closed: 'word' })
  await ledger.write({ number: 1, closed: 'word' }, { number: 1, closed: '' })
  t.equal((await insertEntries(store, inHand(2, 5), 'persist')).fenced.size, 0, 'a clean stop forgets nothing')

  await ledger.write({ number: 1, closed: '' }, { number: 2, closed: '' })
  t.same((await insertEntries(store, inHand(3, 5), 'persist')).fenced, new Map([[2, 6]]))
  t.equal(await maxSeq(store, c), 2)
  t.equal(await raiseFence(store, 'persist', 2, 7), undefined)
  t.equal((await insertEntries(store, inHand(3, 7), 'persist')).fenced.size, 0)
  t.equal(await raiseFence(store, 'persist', 1, 1), undefined, 'no other partition is touched')
})

t.end()
