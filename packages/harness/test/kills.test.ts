import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { until, type World, world } from '../src/index.js'
import { unharmed } from './load.js'
import { SteadyLoad } from './steady.js'

/** No process of ours may cost a seq. */
async function withoutGap(t: Test, w: World, harm: () => Promise<void>): Promise<void> {
  const { accepted } = await unharmed(t, w, harm)
  t.same(
    accepted.map(({ seq }) => seq),
    accepted.map((_, i) => i + 1),
  )
}

const PER_SECOND = 300
const LEAST_PER_SECOND = 280
const VICTIMS = ['task-1', 'connect-1', 'logic-1', 'api-1', 'task-2', 'connect-2', 'logic-2', 'api-2']

async function killEach(t: Test, w: World): Promise<void> {
  const load = await SteadyLoad.start(t, w, PER_SECOND, 6)
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
  t.ok(offered / seconds >= LEAST_PER_SECOND, 'offered by the clock')
  t.ok(accepted / seconds >= LEAST_PER_SECOND, 'and accepted')
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
    await t.test('kill -9 of each in turn, and its return, under a steady load', (t) => killEach(t, w))
    await t.test('a worker that is paused for longer than its lease, and wakes up', async (t) => {
      await withoutGap(t, w, async () => {
        const { child } = w.processes.get('task-1')!
        child.kill('SIGSTOP')
        const partitions = async () => (await fetch(`http://127.0.0.1:${w.ops.get('task-2')}/metrics`)).text()
        await until('the other has taken over', async () => {
          const text = await partitions()
          return ['push', 'persist'].every(
            (g) => (text.match(new RegExp(`group="${g}",partition="\\d+",state="lag"`, 'g')) ?? []).length === 4,
          )
        })
        child.kill('SIGCONT')
      })
    })
    await t.test('a rolling restart by SIGTERM: each process ends by itself, with status 0', async (t) => {
      await withoutGap(t, w, async () => {
        for (const victim of ['connect-1', 'connect-2', 'task-1', 'task-2', 'api-1', 'api-2', 'logic-1', 'logic-2']) {
          const process = w.processes.get(victim)!
          const began = performance.now()
          t.equal(await process.stop(), 0, victim)
          t.ok(performance.now() - began < 5_000, `${victim} stops in time`)
          await process.restart()
        }
      })
    })
  },
)

t.test('a connect node that drains tells its clients when to come back', async (t) => {
  const w = await world(t, { processes: true })
  const alice = await w.user(`a${randomBytes(4).toString('hex')}`)
  const socket = await alice.connect()
  const stopping = w.processes.get('connect-1')!.stop()
  const { after } = await socket.next('reconnect')
  t.ok(Number(after) >= 0 && Number(after) <= 5_000)
  t.equal(await socket.closed(), 1012)
  t.equal(await stopping, 0)
})
