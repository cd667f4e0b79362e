/** kill -9 of each of eight processes in turn, and its return, under a steady load. */
import t, { type Test } from 'tap'
import { type World, world } from '../src/index.js'
import { SteadyLoad } from './steady.js'

/** Messages a second: the first one that the machine keeps up with, for others may want its cores too. */
const RATES = [300, 150, 75]
const KEEPING_UP_MS = 1_000
const LEAST_SHARE = 0.9
const VICTIMS = ['task-1', 'connect-1', 'logic-1', 'api-1', 'task-2', 'connect-2', 'logic-2', 'api-2']

async function startLoad(t: Test, w: World): Promise<SteadyLoad> {
  for (const perSecond of RATES) {
    const load = await SteadyLoad.start(t, w, perSecond, 6)
    if (load.calmMs < KEEPING_UP_MS || perSecond === RATES.at(-1)) return load
    t.comment(`the machine is too busy for ${perSecond}/s: some were shown after ${Math.round(load.calmMs)} ms`)
    await load.finish(t)
  }
  throw new Error('no rate')
}

async function killEach(t: Test, w: World): Promise<void> {
  const load = await startLoad(t, w)
  const least = LEAST_SHARE * load.perSecond
  let [seconds, offered, accepted] = [0, 0, 0]
  for (const victim of VICTIMS) {
    const process = w.processes.get(victim)!
    const one = await load.during(
      () => process.kill('SIGKILL'),
      () => process.restart(),
    )
    t.comment(
      `${victim}: delivery back after ${Math.round(one.recoveryMs)} ms, longest delay ${Math.round(one.longestMs)} ms; ${rate(one.offered, one.seconds)} offered, ${rate(one.accepted, one.seconds)} accepted`,
    )
    t.ok(one.recoveryMs < 5_000, `${victim}: delivery is back within 5 s`)
    // Sends that an api took with it are repeated: when, is its clients' matter.
    if (victim.startsWith('api')) continue
    seconds += one.seconds
    offered += one.offered
    accepted += one.accepted
  }
  t.comment(`outside of kills of api: ${rate(offered, seconds)} offered, ${rate(accepted, seconds)} accepted`)
  t.ok(offered / seconds >= least, 'offered by the clock')
  t.ok(accepted / seconds >= least, 'and accepted')
  await load.finish(t)
}

const rate = (count: number, seconds: number): string => `${Math.round(count / seconds)}/s`

t.test(
  'promise 1: whatever single process dies under load, nothing accepted is lost, doubled or misordered',
  async (t) => {
    const w = await world(t, {
      processes: true,
      count: { api: 2, logic: 2, task: 2, connect: 2 },
      env: { TIDINGS_NODE_LEASE_S: '3', TIDINGS_WORKER_LEASE_S: '2' },
    })
    await killEach(t, w)
  },
)
