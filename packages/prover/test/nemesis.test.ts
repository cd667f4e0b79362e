/** A product that never answers does not hang the prover. */
import t from 'tap'
import { type Cluster, type Fault, History } from '../src/index.js'
import { chanceOf } from '../src/load/chance.js'
import type { Crowd } from '../src/load/crowd.js'
import { Rounds } from '../src/load/rounds.js'
import { createNemesis } from '../src/nemesis.js'
import { inTime } from '../src/until.js'

t.test('a fault that does not end is interrupted, and told of', async (t) => {
  const history = new History('r')
  const interrupt = new AbortController()
  const nothing = { healLinks: () => undefined, stores: {}, apps: new Map() } as unknown as Cluster
  const nemesis = createNemesis({
    cluster: nothing,
    crowd: {} as Crowd,
    history,
    chance: chanceOf(1),
    pace: 1,
    slack: 1,
    say: () => undefined,
    signal: interrupt.signal,
  })
  const endless: Fault = {
    row: '0',
    name: 'endless',
    boundMs: 1,
    available: false,
    run: () => new Promise(() => undefined),
  }
  const struck = nemesis.strike(endless)
  interrupt.abort()
  await struck
  t.match(history.events.at(-1), { type: 'fail', detail: 'the fault: interrupted' })
  await nemesis.strike(endless)
  t.equal(history.events.length, 4, 'also one that begins afterwards')
})

t.test('what takes too long is waited for no more', async (t) => {
  await t.rejects(inTime('it', new Promise(() => undefined), 10), { message: 'it: no end after 10 ms' })
  await t.rejects(inTime('it', Promise.reject(new Error('no')), 1_000), { message: 'no' })
  t.equal(await inTime('it', Promise.resolve(7), 1_000), 7)
})

t.test('a call outside of the rounds is given up at the end, too', async (t) => {
  const rounds = new Rounds(chanceOf(1))
  let attempts = 0
  const call = rounds.untilAnswered(async () => {
    attempts++
    return false
  })
  await rounds.finish(50)
  await call
  t.ok(attempts > 0)
})
