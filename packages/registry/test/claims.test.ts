import t from 'tap'
import { Claims, type ClaimsEffect, type ClaimsEvent } from '../src/index.js'

/** A worker `a` that has been told this, in this order. @returns it, and what it wants done after the last */
function told(events: readonly ClaimsEvent[], partitions = 1): { claims: Claims; effects: ClaimsEffect[] } {
  const claims = new Claims('a', partitions)
  let effects: ClaimsEffect[] = []
  for (const event of events) effects = claims.on(event)
  return { claims, effects }
}

const claim = { partition: 0, expected: 0, fence: 101, reading: 1 }
const owning: ClaimsEvent[] = [
  { type: 'leased', lease: 'l1' },
  { type: 'workers', workers: ['a'] },
  { type: 'read', named: new Map(), revision: 100 },
  { type: 'claimed', claim, revision: 101, lease: 'l1' },
  { type: 'raised', partition: 0, fence: 101 },
]

t.test('claims in etcd, then the fence in Redis, then the work', (t) => {
  t.same(told(owning.slice(0, 3)).effects, [{ type: 'claim', ...claim }])
  t.same(told(owning.slice(0, 4)).effects, [{ type: 'raise', partition: 0, fence: 101 }])
  t.same(told(owning).effects, [{ type: 'own', partition: 0, fence: 101 }])
  t.same(told([...owning, { type: 'tick' }]).effects, [], 'and nothing more')
  t.end()
})

t.test('a refused owner claims above the refuser, one whom etcd does not name stops', (t) => {
  t.match(told([...owning, { type: 'refused', partition: 0, fence: 101, by: 700 }]).effects, [
    { type: 'claim', expected: 101, fence: 701 },
  ])
  t.match(told([...owning, { type: 'named', partition: 0, owner: 'b', fence: 102, revision: 102 }]).effects, [
    { type: 'release', because: 'another-owner' },
  ])
  t.end()
})

t.test('a new lease takes the key over under the same fence, and the work goes on', (t) => {
  const { claims, effects } = told([...owning, { type: 'leased', lease: 'l2' }])
  t.match(effects, [{ type: 'claim', expected: 101, fence: 101 }])
  t.same(claims.on({ type: 'claimed', claim: { ...claim, expected: 101 }, revision: 105, lease: 'l2' }), [])
  t.end()
})

t.test('an etcd that lost its data: the owner goes on and claims above its own fence', (t) => {
  const { effects } = told([...owning, { type: 'read', named: new Map(), revision: 3 }])
  t.match(effects, [{ type: 'claim', expected: 0, fence: 102, reading: 2 }])
  t.end()
})

t.test('a key of which nobody knows whether it is gone is asked for again', (t) => {
  const { claims, effects } = told([
    ...owning,
    // A claim whose reply was lost, after etcd had lost its data: it names us, and we do not know.
    { type: 'read', named: new Map(), revision: 3 },
    { type: 'claim-failed', claim: { ...claim, fence: 102, reading: 2 } },
    { type: 'workers', workers: ['0', 'a'] },
    { type: 'released', partition: 0 },
    { type: 'unlist-failed', partition: 0 },
    { type: 'tick' },
  ])
  t.match(effects, [{ type: 'unlist', partition: 0 }])
  const found = { owner: 'a', fence: 102, revision: 4 }
  t.match(claims.on({ type: 'unlisted', partition: 0, found, revision: 4, reading: 2 }), [
    { type: 'unlist', revision: 4 },
  ])
  t.end()
})
