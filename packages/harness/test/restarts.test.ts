/** Processes that pause, stop in order and come back, under load. */
import t, { type Test } from 'tap'
import { until, type World, world } from '../src/index.js'
import { unharmed } from './load.js'

/** No process of ours may cost a seq. */
async function withoutGap(t: Test, w: World, harm: () => Promise<void>): Promise<void> {
  const { accepted } = await unharmed(t, w, harm)
  t.same(
    accepted.map(({ seq }) => seq),
    accepted.map((_, i) => i + 1),
  )
}

t.test('a paused worker and a rolling restart: nothing accepted is lost, doubled or misordered', async (t) => {
  const w = await world(t, {
    processes: true,
    count: { api: 2, logic: 2, task: 2, connect: 2 },
    env: { TIDINGS_NODE_LEASE_S: '3', TIDINGS_WORKER_LEASE_S: '2' },
  })
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
})
