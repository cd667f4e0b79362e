import { runSchedules } from '@tidings/service/simulation'
import t from 'tap'
import { runOwnership } from './ownership.sim.js'

t.test('one owner per partition and fence, shares even and stable, whatever workers, etcd and Redis do', (t) => {
  const found = runSchedules((seed) => runOwnership(seed), { schedules: 2_000, seed: 1 })
  t.same(found, undefined)
  t.end()
})

t.test('the simulator can fail: two owners of one fence are found', (t) => {
  const found = runSchedules((seed) => runOwnership(seed, { anyFence: true }), { schedules: 3_000, seed: 1 })
  t.match(found, { fault: /two owners|another's|below/ })
  t.end()
})

t.test('the simulator can fail: an owner that never gets above old fences is found', (t) => {
  const found = runSchedules((seed) => runOwnership(seed, { deafToRefusals: true }), { schedules: 3_000, seed: 1 })
  t.match(found, { fault: /has 0 owners/ })
  t.end()
})
