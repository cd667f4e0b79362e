/** How fast the index of words goes on beside what is stored. */
import t from 'tap'
import { createPace } from '../src/search-index.js'

t.test('the index takes what storing leaves: all at rest, a tenth under load, and all again afterwards', async (t) => {
  let stored = 0
  const pace = createPace(2_000, () => stored)
  t.equal(pace(), 2_000)
  const until = async (check: (allowed: number) => boolean, perTurn: number): Promise<number> => {
    for (;;) {
      stored += perTurn
      await new Promise((resolve) => setTimeout(resolve, 10))
      const allowed = pace()
      if (check(allowed)) return allowed
    }
  }
  t.equal(await until((allowed) => allowed < 2_000, 100_000), 200)
  t.equal(await until((allowed) => allowed > 200, 0), 2_000)
  const some = await until((allowed) => allowed < 2_000, 2)
  t.ok(some > 1_500 && some < 2_000, `${some} beside at most 200 a second`)
})
