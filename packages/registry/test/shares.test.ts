import t from 'tap'
import { planShares, quotaOf, sharing } from '../src/index.js'

t.test('those who can serve a group share it, and all where nobody can', (t) => {
  const serving = (...unable: string[]) => ['a', 'b', 'c'].map((name) => ({ name, unable: unable.includes(name) }))
  t.same(sharing('a', serving()), { workers: ['a', 'b', 'c'], resting: false })
  t.same(sharing('a', serving('a')), { workers: ['b', 'c'], resting: true })
  t.same(sharing('b', serving('a')), { workers: ['b', 'c'], resting: false })
  t.same(sharing('a', serving('a', 'b', 'c')), { workers: ['a', 'b', 'c'], resting: false })
  t.same(sharing('d', serving('a')), { workers: ['b', 'c'], resting: false }, 'one that is not listed goes on')
  t.end()
})

t.test('shares differ by at most one and add up', (t) => {
  for (const partitions of [1, 4, 16, 17, 64]) {
    for (let n = 1; n <= 9; n++) {
      const workers = Array.from({ length: n }, (_, i) => `task-${i}`)
      const quotas = workers.map((worker) => quotaOf(worker, workers, partitions))
      t.equal(
        quotas.reduce((a, b) => a + b),
        partitions,
      )
      t.ok(Math.max(...quotas) - Math.min(...quotas) <= 1)
    }
  }
  t.equal(quotaOf('stranger', ['task-1'], 16), 0)
  t.end()
})

t.test('workers that come and go settle on a fair share, and nobody is asked for what another holds', (t) => {
  const owners = new Map<number, string>()
  const settle = (workers: string[]): void => {
    for (let round = 0; round < 50; round++) {
      let moved = false
      for (const me of workers) {
        const plan = planShares({ me, workers, partitions: 16, owners })
        for (const p of plan.release) {
          t.equal(owners.get(p), me)
          owners.delete(p)
          moved = true
        }
        for (const p of plan.claim) {
          t.equal(owners.get(p), undefined)
          owners.set(p, me)
          moved = true
        }
      }
      if (!moved) return
    }
    t.fail('it never settles')
  }
  settle(['a'])
  t.equal(owners.size, 16)
  const before = new Map(owners)
  settle(['a', 'b'])
  t.equal([...owners.values()].filter((w) => w === 'b').length, 8)
  t.equal([...owners].filter(([p, w]) => w !== before.get(p)).length, 8, 'no more moves than needed')
  settle(['a', 'b', 'c'])
  t.same([...new Set(owners.values())].sort(), ['a', 'b', 'c'])
  for (const [p, w] of owners) if (w === 'b') owners.delete(p)
  settle(['a', 'c'])
  t.equal(owners.size, 16)
  t.end()
})
