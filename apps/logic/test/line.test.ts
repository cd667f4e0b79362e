/** Waiting before what is expensive. */
import t from 'tap'
import { createLine } from '../src/line.js'

/** Work that ends when it is told to. */
function works() {
  const ends: (() => void)[] = []
  const work = () => new Promise<void>((resolve) => ends.push(resolve))
  return { ends, work }
}

const turn = () => new Promise(setImmediate)
const bounds = { atOnce: 2, inLine: 2, perUser: 3, waitMs: 60_000, refusal: 'Too much.' }

t.test('so many run at once, so many wait, and the next is told that it is too much', async (t) => {
  const line = createLine(bounds)
  const { ends, work } = works()
  const all = ['a', 'b', 'c', 'd'].map((user) => line.run(user, work))
  await turn()
  t.equal(ends.length, 2)
  await t.rejects(line.run('e', work), { code: 'overloaded', message: 'Too much.', retryAfter: 2 })
  ends[0]!()
  await all[0]
  t.equal(ends.length, 3, 'whoever ends hands its place on')
  for (let i = 1; i < 4; i++) {
    ends[i]!()
    await all[i]
  }
  t.equal(await line.run('e', async () => 'done'), 'done', 'and all is free again')
})

t.test('one user has so many in it, and has them back when they have failed', async (t) => {
  const line = createLine(bounds)
  const { ends, work } = works()
  const all = [line.run('a', work), line.run('a', work), line.run('a', work)]
  await turn()
  await t.rejects(line.run('a', work), { code: 'overloaded' })
  const other = line.run('b', async () => 'mine')
  ends[0]!()
  ends[1]!()
  await turn()
  t.equal(await other, 'mine', 'others have their turn')
  ends[2]!()
  await Promise.all(all)
  const wrong = new Error('wrong')
  for (let i = 0; i < 5; i++)
    await t.rejects(
      line.run('a', () => Promise.reject(wrong)),
      wrong,
    )
})

t.test('whoever waits for too long is told so, and nothing is done for them', async (t) => {
  const line = createLine({ ...bounds, atOnce: 1, waitMs: 20 })
  const { ends, work } = works()
  const first = line.run('a', work)
  let done = false
  await t.rejects(
    line.run('b', async () => {
      done = true
    }),
    { code: 'overloaded' },
  )
  ends[0]!()
  await first
  t.notOk(done)
  t.equal(await line.run('b', async () => 'mine'), 'mine', 'the place is free')
})
