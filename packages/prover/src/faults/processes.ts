/** Rows 1 to 13: processes of ours that die, hang, or leave. */
import type { AppName, AppProcess } from '../cluster/app.js'
import { moduleUrl } from '../rewrite/rewrite.js'
import { within } from '../until.js'
import { arm, dieHere, onceFor, taken } from './failpoint.js'
import type { Fault, FaultContext } from './fault.js'

const STARTED_AGAIN_MS = 300

/** kill -9, and the others carry on; then it comes back, as its supervisor would have it. */
function killed(row: string, app: AppName, boundMs: number): Fault {
  return {
    row,
    name: `${app} killed under load`,
    boundMs,
    available: true,
    async run(c) {
      const victim = c.chance.pick(c.cluster.of(app))
      const { pid } = victim
      await victim.kill()
      c.bit(`${victim.instance} (pid ${pid}) ended with ${victim.ended}`)
      await c.recovered()
      await c.hold(STARTED_AGAIN_MS)
      await victim.start()
    },
  }
}

/** SIGSTOP for a while, then SIGCONT. */
async function paused(c: FaultContext, victim: AppProcess, ms: number): Promise<void> {
  victim.signal('SIGSTOP')
  if (await victim.ready()) throw new Error(`${victim.instance} still answers`)
  c.bit(`${victim.instance} (pid ${victim.pid}) answers nothing`)
  await c.hold(ms)
  victim.signal('SIGCONT')
}

/** A worker that dies at an exact point of pushing an entry that nothing follows. */
function pushDiesAt(row: string, name: string, point: string, find: string): Fault {
  return {
    row,
    name,
    boundMs: 15_000,
    available: true,
    rewrites: (folder) => {
      const dies = dieHere(folder, point, 'batch.map((one) => one.entry.conversation)')
      return { task: [{ module: moduleUrl(PUSH), find, replace: `${dies} ${find}` }] }
    },
    async run(c) {
      const quiet = c.crowd.conversations.at(-1)!
      arm(c.cluster.folder, point, quiet.conv)
      const kept = await c.crowd.send(quiet)
      const victim = await dead(c, point)
      if (!victim) return
      c.healed()
      if (!(await c.shown(kept, this.boundMs))) throw new Error(`seq ${kept.seq} of ${quiet.conv} is not shown`)
      await c.recovered()
      await victim.start()
    },
  }
}

/** A worker that dies at an exact point of a transaction. */
function persistDiesAt(row: string, name: string, point: string, find: string): Fault {
  return {
    row,
    name,
    boundMs: 15_000,
    available: true,
    rewrites: (folder) => ({
      task: [{ module: moduleUrl(DB), find, replace: `${find} ${dieHere(folder, point)}` }],
    }),
    async run(c) {
      arm(c.cluster.folder, point)
      await c.crowd.send(c.crowd.conversations.at(-1)!)
      const victim = await dead(c, point)
      if (!victim) return
      await c.recovered()
      await victim.start()
    },
  }
}

/** The worker that came by the point and died there. */
async function dead(c: FaultContext, point: string): Promise<AppProcess | undefined> {
  if (!(await taken(c.cluster.folder, point, 10_000))) return undefined
  const victim = (): AppProcess | undefined => c.cluster.of('task').find(({ ended }) => ended !== undefined)
  if (!(await within(victim, 5_000))) return undefined
  c.bit(`${victim()!.instance} ended with ${victim()!.ended} at ${point}`)
  return victim()
}

const PUSH = 'apps/task/dist/src/push.js'
const DB = 'packages/store/dist/src/db.js'

export const processFaults: Fault[] = [
  killed('1', 'api', 5_000),
  killed('1b', 'logic', 5_000),
  {
    row: '4',
    name: 'api paused, and back',
    boundMs: 5_000,
    available: true,
    run: (c) => paused(c, c.chance.pick(c.cluster.of('api')), 8_000),
  },
  pushDiesAt(
    '5',
    'push dies after the node has confirmed, before settling',
    'push-confirmed',
    'return { poisoned, fenced };',
  ),
  pushDiesAt('6', 'push dies after reading', 'push-read', 'const byNode = new Map();'),
  {
    row: '7',
    name: 'push settles what the node never showed, and nothing follows',
    boundMs: 40_000,
    available: true,
    rewrites: (folder) => ({
      connect: [
        {
          module: moduleUrl('apps/connect/dist/src/push-service.js'),
          find: 'checkEntry(entry);',
          replace: `checkEntry(entry); if (${onceFor(folder, 'node-drops', 'entry.conversation')}) continue;`,
        },
      ],
    }),
    async run(c) {
      const quiet = c.crowd.conversations.at(-1)!
      arm(c.cluster.folder, 'node-drops', quiet.conv)
      const kept = await c.crowd.send(quiet)
      if (!(await taken(c.cluster.folder, 'node-drops', 10_000))) return
      c.bit(`a node has dropped seq ${kept.seq} of ${quiet.conv} and confirmed it`)
      c.healed()
      if (!(await c.shown(kept, this.boundMs + 5_000))) throw new Error('it was never shown')
      await c.recovered()
    },
  },
  persistDiesAt('8', 'persist dies after COMMIT', 'persist-committed', `await db.run('COMMIT');`),
  persistDiesAt('8b', 'persist dies inside its transaction', 'persist-inside', `const answer = await work(db);`),
  killed('9b', 'task', 10_000),
  {
    row: '9',
    name: 'worker paused beyond its lease, and it wakes up',
    boundMs: 15_000,
    available: true,
    run: (c) => paused(c, c.chance.pick(c.cluster.of('task')), 10_000),
  },
  {
    row: '10',
    name: 'all workers away',
    boundMs: 15_000,
    available: true,
    async run(c) {
      const workers = c.cluster.of('task')
      const ends = await Promise.all(workers.map((worker) => worker.stop()))
      c.bit(`the workers ended with ${ends.join(' and ')}`)
      await c.hold(10_000)
      await Promise.all(workers.map((worker) => worker.start()))
    },
  },
  killed('11', 'connect', 30_000),
  {
    row: '12',
    name: 'connect paused beyond its lease',
    boundMs: 45_000,
    available: true,
    run: (c) => paused(c, c.chance.pick(c.cluster.of('connect')), 15_000),
  },
  {
    row: '13',
    name: 'rolling restart of everything by SIGTERM',
    boundMs: 60_000,
    available: true,
    async run(c) {
      for (const app of ['connect', 'task', 'api', 'logic'] as const)
        for (const victim of c.cluster.of(app)) {
          const { pid } = victim
          const end = await victim.stop()
          await victim.start()
          if (end !== 'status 0') throw new Error(`${victim.instance} ended with ${end}`)
          c.bit(`${victim.instance} was pid ${pid} and is ${victim.pid}`)
        }
    },
  },
]
