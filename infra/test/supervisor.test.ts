import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Test, test } from 'tap'
import { isRunning } from '../src/process.js'
import type { Child } from '../src/state.js'
import { type Part, Supervisor, type SupervisorOptions } from '../src/supervisor.js'
import { folder, until } from './world.js'

/** A supervisor, what it said, and a way to describe processes for it. */
function world(t: Test, more: Partial<SupervisorOptions> = {}) {
  const dir = folder(t)
  const said: string[] = []
  let children: Child[] = []
  const supervisor = new Supervisor({
    say: (line) => said.push(line),
    changed: (now) => {
      children = now
    },
    backoffMs: 5,
    patienceMs: 100,
    ...more,
  })
  t.teardown(() => supervisor.stop())
  /** A process that runs this script; ready when it has made the file `<instance>.ready`. */
  const part = (instance: string, script: string, name = 'api'): Part => {
    const ready = join(dir, `${instance}.ready`)
    return {
      name,
      instance,
      ports: {},
      log: join(dir, `${instance}.log`),
      readyMs: 20_000,
      command: () => ({
        file: process.execPath,
        args: ['-e', `const ready = ${JSON.stringify(ready)}; ${script}`],
        env: process.env,
        cwd: dir,
      }),
      probe: async () => {
        if (!existsSync(ready)) throw new Error('not yet')
      },
    }
  }
  return {
    dir,
    said,
    supervisor,
    part,
    child: (instance: string) => children.find((each) => each.instance === instance),
  }
}

const READY = "require('node:fs').writeFileSync(ready, '')"
const STAY = 'setInterval(() => undefined, 1000)'

test('a child that is killed is started again, with a new pid', async (t) => {
  const { supervisor, part, child, said } = world(t)
  await supervisor.start(part('api-1', `${READY}; ${STAY}`))
  const first = child('api-1')!
  process.kill(first.pid, 'SIGKILL')
  const second = await until('another one runs', () => {
    const now = child('api-1')!
    return now.pid !== first.pid && isRunning(now) ? now : undefined
  })
  t.not(second.pid, first.pid)
  await until('it is said', () => said.some((line) => line.includes(`api-1 is back (pid ${second.pid})`)))
  t.match(said[0], /api-1 \(pid \d+\) ended with signal SIGKILL; starting it again/)
})

test('a child that keeps dying is started with longer and longer waits', async (t) => {
  const { supervisor, part, said } = world(t)
  await supervisor.start(part('api-1', `${READY}; setTimeout(() => process.exit(3), 10)`))
  await until('it has died four times', () => said.filter((line) => line.includes('status 3')).length >= 4)
  const waits = said.flatMap((line) => /in (\d+) ms/.exec(line)?.[1] ?? []).map(Number)
  t.same(waits.slice(0, 4), [5, 10, 20, 40])
})

test('wrong settings (status 78) end the start with the last line that the child wrote', async (t) => {
  const { supervisor, part, child } = world(t)
  const refuses = part('api-1', "console.error('TIDINGS_X=1 cannot be used: give 2.'); process.exit(78)")
  await t.rejects(supervisor.start(refuses), { message: 'TIDINGS_X=1 cannot be used: give 2.', exitCode: 78 })
  t.equal(isRunning(child('api-1')!), false)
})

test('a child that does not come up is named, with the end of its log', async (t) => {
  const { supervisor, part } = world(t)
  const broken = part('task-1', "console.error('the reason'); process.exit(1)")
  await t.rejects(supervisor.start(broken), {
    message: /^task-1 did not come up \(status 1\); its log is .*\n {2}the reason$/,
  })
})

test('stop ends the edges before the stores, and a child that does not listen is killed, in its time', async (t) => {
  const { dir, supervisor, part, child } = world(t)
  const note = (word: string): string =>
    `process.on('SIGTERM', () => { require('node:fs').appendFileSync('order', '${word}\\n'); process.exit() })`
  await Promise.all([
    supervisor.start(part('redis', `${note('redis')}; ${READY}; ${STAY}`, 'redis')),
    supervisor.start(part('api-1', `${note('api')}; ${READY}; ${STAY}`, 'api')),
    supervisor.start(part('logic-1', `${note('logic')}; ${READY}; ${STAY}`, 'logic')),
    supervisor.start(part('task-1', `process.on('SIGTERM', () => undefined); ${READY}; ${STAY}`, 'task')),
  ])
  const deaf = child('task-1')!
  const began = Date.now()
  await supervisor.stop()
  t.ok(Date.now() - began < 5_000)
  t.equal(readFileSync(join(dir, 'order'), 'utf8'), 'api\nlogic\nredis\n')
  t.equal(isRunning(deaf), false)
  await supervisor.stop()
})

test('a list of processes that cannot be written down is said, and what was started runs on and is ended', async (t) => {
  let noted: Child[] = []
  const { supervisor, part, said } = world(t, {
    changed: (children) => {
      noted = children
      throw new Error('ENOSPC: no space left on device')
    },
  })
  await supervisor.start(part('api-1', `${READY}; ${STAY}`))
  const [first] = noted
  t.match(said, [/what runs could not be written down \(ENOSPC/])
  process.kill(first!.pid, 'SIGKILL')
  await until('it is back', () => said.some((line) => line.includes('api-1 is back')))
  const [second] = noted
  t.equal(noted.length, 1)
  await supervisor.stop()
  t.equal(isRunning(second!), false)
})

test('a child whose folder of logs has been removed is started again all the same', async (t) => {
  const { supervisor, part, child, said } = world(t)
  const plan = part('api-1', `${READY}; ${STAY}`)
  const log = join(dirname(plan.log), 'logs/api-1.log')
  await supervisor.start({ ...plan, log })
  rmSync(dirname(log), { recursive: true })
  process.kill(child('api-1')!.pid, 'SIGKILL')
  await until('it is back', () => said.some((line) => line.includes('api-1 is back')), 5_000)
  t.ok(existsSync(log))
})

test('an edge has the time of its drain, and a store its own after what comes before it', async (t) => {
  const { supervisor, part, said } = world(t, { beforeStores: () => sleep(4_000) })
  const slow = (ms: number): string =>
    `process.on('SIGTERM', () => setTimeout(() => process.exit(), ${ms})); ${READY}; ${STAY}`
  await supervisor.start(part('redis', slow(1_000), 'redis'))
  await supervisor.start(part('connect-1', slow(2_800), 'connect'))
  await supervisor.stop()
  t.same(said, [], 'nothing was killed')
})

test('what is being launched when another one fails is ended by the stop', async (t) => {
  const { supervisor, part, dir } = world(t)
  const broken = { ...part('connect-1', STAY, 'connect'), log: dir }
  const starts = [supervisor.start(part('api-1', STAY)), supervisor.start(part('task-1', STAY, 'task'))]
  await t.rejects(Promise.all([...starts, supervisor.start(broken)]), { code: 'EISDIR' })
  await supervisor.stop()
  for (const start of starts) await t.rejects(start, { message: 'interrupted' })
  t.same(
    supervisor.children.map((child) => [child.instance, isRunning(child)]),
    [
      ['api-1', false],
      ['task-1', false],
    ],
  )
})
