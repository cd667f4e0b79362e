import t from 'tap'
import { createBreaker } from '../../src/notify/breaker.js'

t.test('five failures in a row open it; then one try at a time, further and further apart', async (t) => {
  const breaker = createBreaker(() => 1)
  for (let i = 0; i < 4; i++) breaker.failed(0)
  t.equal(breaker.allows(0, 32), 32, 'four are nothing yet')
  breaker.succeeded()
  for (let i = 0; i < 4; i++) breaker.failed(0)
  t.equal(breaker.allows(0, 32), 32, 'and a success begins anew')
  breaker.failed(0)
  t.equal(breaker.allows(999, 32), 0)
  t.equal(breaker.allows(1_000, 32), 1)
  breaker.failed(1_000)
  t.equal(breaker.openUntil, 3_000)
  breaker.failed(1_001)
  t.equal(breaker.openUntil, 3_000, 'what was sent beside it tells nothing new')
  for (let now = 3_000; now < 1_000_000; now = breaker.openUntil) {
    breaker.failed(now)
    t.ok(breaker.openUntil - now <= 60_000)
  }
  breaker.succeeded()
  t.equal(breaker.allows(0, 32), 32)
  t.equal(breaker.openUntil, 0)
})
