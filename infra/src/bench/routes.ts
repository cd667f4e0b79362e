/** Many sessions in a real etcd, and one worker's mirror of them: its size, its loading, and what a node's death does to look-ups. */
import { fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '../failure.js'
import { nowUs } from './clock.js'
import { readCpu, readResident } from './cpu.js'
import type { RoutesFigures, RoutesStretch } from './figures.js'
import type { RoutesOrder, ServerProcess } from './order.js'
import { sumOf } from './rates.js'
import { Nodes } from './routes-fill.js'
import {
  type Loaded,
  type MirrorAnswer,
  type MirrorCommand,
  type Phase,
  SessionPlan,
  type Stretch,
  sinceMs,
  type Timed,
} from './routes-plan.js'

const QUIET_MS = 3_000

/** @param restartEtcd ends etcd as a crash does and starts it again: every watch breaks */
export async function routes(
  order: RoutesOrder,
  restartEtcd: () => Promise<ServerProcess>,
): Promise<{ routes: RoutesFigures; faults: string[] }> {
  const plan = new SessionPlan(order.scale.routeSessions)
  const nodes = new Nodes(order.etcdUrl, plan)
  const mirror = new MirrorProcess()
  const faults: string[] = []
  const check = async (phase: Phase): Promise<void> => {
    const { wrong } = await mirror.ask<{ wrong: string[] }>({ do: 'check', phase })
    faults.push(...wrong)
  }
  /** What happens from the start of `act` until so many sessions are known. */
  const stretch = async (sessions: number, act: () => Promise<unknown>): Promise<RoutesStretch> => {
    await mirror.ask({ do: 'watch' })
    const beganUs = nowUs()
    await act()
    const { atUs, firstUs, cpuMs, late } = await mirror.ask<Stretch>({ do: 'until', sessions })
    return { ms: (atUs - beganUs) / 1_000, firstMs: (Math.max(firstUs, beganUs) - beganUs) / 1_000, cpuMs, late }
  }
  try {
    await nodes.open()
    const fillUs = nowUs()
    const all = Array.from({ length: plan.sessions }, (_, i) => i)
    await nodes.list(all, 'all')
    const fillSeconds = sinceMs(fillUs) / 1_000
    const cpuBefore = readCpu(order.processes)
    const loaded = await mirror.ask<Loaded>({ do: 'load', etcdUrl: order.etcdUrl, sessions: plan.sessions })
    const etcdCpuMs = (readCpu(order.processes).etcd! - cpuBefore.etcd!) / 1_000
    await check('all')
    const lookUp = await mirror.ask<Timed>({ do: 'time' })
    const quiet = await stretch(plan.sessions, () => sleep(QUIET_MS))
    const mortal = plan.mortal
    const death = await stretch(plan.sessions - mortal.length, () => nodes.killFirst())
    await check('dead')
    const back = await stretch(plan.sessions, () => nodes.list(mortal, 'back'))
    await check('back')
    const etcd = { dbMib: await dbMib(order.etcdUrl), residentMib: readResident(order.processes).etcd! / 1_024 }
    let downMs = 0
    const reload = await stretch(plan.sessions + 1, async () => {
      const beganUs = nowUs()
      await restartEtcd()
      downMs = sinceMs(beganUs)
      await nodes.addStranger()
    })
    await check('back')
    const { sessions, users, nodes: nodeCount } = plan
    const size = { sessions, users, nodes: nodeCount, died: mortal.length }
    const figures = { ...size, fillSeconds, etcd: { ...etcd, loadCpuMs: etcdCpuMs, downMs }, loaded, lookUp }
    return { routes: { ...figures, quiet, death, back, reload }, faults }
  } finally {
    mirror.end()
    nodes.close()
  }
}

/** The process with the mirror, seen from here. */
class MirrorProcess {
  readonly #child = fork(new URL('./routes-mirror.js', import.meta.url), { execArgv: ['--expose-gc'] })

  ask<T extends object = object>(command: MirrorCommand): Promise<T> {
    return new Promise((resolve, reject) => {
      const died = (): void => reject(new Failure('The process with the mirror has ended.'))
      this.#child.once('exit', died)
      this.#child.once('message', (answer: MirrorAnswer) => {
        this.#child.off('exit', died)
        if ('failed' in answer) reject(new Failure(`The mirror has failed: ${answer.failed}`))
        else resolve(answer as T)
      })
      this.#child.send(command)
    })
  }

  end(): void {
    this.#child.kill('SIGKILL')
  }
}

async function dbMib(etcdUrl: string): Promise<number> {
  const answer = await fetch(`${etcdUrl}/metrics`)
  return sumOf(await answer.text(), 'etcd_mvcc_db_total_size_in_bytes') / 2 ** 20
}
