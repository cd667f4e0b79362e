/** The last reads. */
import t from 'tap'
import { catchUp } from '../src/final.js'
import { History } from '../src/index.js'
import type { DeviceOptions } from '../src/load/device.js'
import { CONV } from './histories.js'

t.test('a device that does not catch up is told of', async (t) => {
  const history = new History('r')
  history.record({ proc: 'mysql', type: 'ok', f: 'head', conv: CONV, seq: 4 })
  const device = (name: string, seq: number) => ({
    proc: `bob/${name}`,
    options: { user: 'bob', name, mine: new Set([CONV]) } as unknown as DeviceOptions,
    reached: () => seq,
  })
  await catchUp([device('phone', 4)], history, 50)
  t.equal(history.events.length, 1)
  await catchUp([device('phone', 4), device('laptop', 3)], history, 50)
  t.match(history.events.at(-1), { type: 'fail', f: 'fault', detail: /: bob\/laptop$/ })
})
