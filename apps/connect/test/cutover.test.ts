import { runSchedules } from '@tidings/service/simulation'
import t from 'tap'
import { runCutover } from './cutover.sim.js'

t.test(
  'promises 1 and 2: from the backlog into live delivery, each session is shown each entry once and in order',
  (t) => {
    const found = runSchedules((seed) => runCutover(seed), { schedules: 3_000, seed: 1 })
    t.same(found, undefined)
    t.end()
  },
)

for (const [planted, fault] of [
  ['noSweep', /stands at/],
  ['positionFromPush', /shown|void|gap|stands at/],
  ['acksInGaps', /covers/],
] as const) {
  t.test(`the simulator can fail: ${planted}`, (t) => {
    const found = runSchedules((seed) => runCutover(seed, { [planted]: true }), { schedules: 3_000, seed: 1 })
    t.match(found, { fault })
    t.end()
  })
}
