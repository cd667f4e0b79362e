import t from 'tap'
import { createIds, timeOfId } from '../src/index.js'

t.test('ids rise, are unique, and tell their time', (t) => {
  let clock = 1_800_000_000_000
  const next = createIds({ n: 5, fresh: () => true }, () => clock)
  const ids = Array.from({ length: 10_000 }, next)
  t.equal(new Set(ids).size, 10_000)
  t.same(
    [...ids].sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1)),
    ids,
  )
  t.equal(timeOfId(ids[0]!), clock)
  clock -= 500
  t.ok(BigInt(next()) > BigInt(ids.at(-1)!), 'a clock that steps back a little is waited for')
  clock -= 5_000
  t.throws(next, { code: 'unavailable' })
  t.throws(createIds({ n: 1, fresh: () => false }), { code: 'unavailable' }, 'no ids under a lease that may have ended')
  t.end()
})
