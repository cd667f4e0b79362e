/** The faults themselves, without a cluster: which share one, and what they take for a proof. */
import t from 'tap'
import { byCluster, chooseFaults } from '../src/index.js'

t.test('what may be forgotten by one fault excuses nothing under another', async (t) => {
  const all = chooseFaults('all')
  const clusters = byCluster(all)
  t.same(clusters.flatMap(({ faults }) => faults).length, all.length)
  for (const { name, redis, faults } of clusters)
    for (const one of faults) {
      t.equal(one.redis ?? 'one', redis)
      t.equal(one.tailLost ?? false, name.endsWith('-lost-tail'), `row ${one.row}`)
      if (!one.tailLost) t.equal(one.voids ?? false, name.endsWith('-voids'), `row ${one.row}`)
    }
  const strict = clusters.find(({ name }) => name === 'one')!
  t.ok(
    strict.faults.some(({ row }) => row === '32'),
    'a row that is poison is judged with the others',
  )
  t.match(byCluster([]), [{ name: 'one', faults: [] }])
})
