/** The same short scenario twice, as the code is and with a bug planted. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import {
  BUGS,
  type Bug,
  type Cluster,
  chooseFaults,
  type Fault,
  proveOn,
  startCluster,
  type Verdict,
} from '../src/index.js'
import type { Rewrite } from '../src/rewrite/rewrite.js'

const SEED = 7
/** A node looks again two seconds after a device has come; what a fault does must not hide behind that. */
const CALM_MS = 3_000
const CHANGING_MS = 1_500
/** Far below the 30 s of the sweep of all heads, which would mend it in the end. */
const BOUND_MS = 8_000

/** @param names of bugs; one cluster serves them all */
export async function planted(t: Test, names: readonly string[], nodes: number): Promise<void> {
  t.comment(`seed ${SEED}`)
  const bugs = names.map((name) => BUGS.find((bug) => bug.name === name)!)
  const folder = mkdtempSync(join(tmpdir(), 'tidings-prover-'))
  const task = bugs.flatMap((bug) => scenario(bug).rewrites?.(folder).task ?? [])
  const count = { api: 1, logic: 1, task: nodes, connect: nodes }
  const cluster = await startCluster({
    count,
    folder,
    env: { TIDINGS_NODE_LEASE_S: '3', TIDINGS_WORKER_LEASE_S: '3' },
    rewrites: { task },
  })
  t.teardown(async () => {
    await cluster.stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  })
  for (const [n, bug] of bugs.entries())
    await t.test(`${bug.name}: ${bug.what}`, async (t) => {
      const control = await prove(cluster, bug)
      t.same(control.violations, [], 'without the bug every promise is kept')
      const before = cluster.of(bug.app).map(({ rewrites }) => rewrites)
      await restart(cluster, bug, (i) => [...before[i]!, ...bug.rewrites])
      const found = await prove(cluster, bug)
      const rules = new Set(found.violations.map(({ rule }) => rule))
      t.ok(
        bug.rules.some((rule) => rules.has(rule)),
        `with the bug one of ${bug.rules.join(', ')} is broken, among ${[...rules].join(', ')}`,
      )
      for (const { rule, text } of found.violations.slice(0, 3)) t.comment(`${rule}: ${text}`)
      t.match(found.faults, [{ bit: String }], 'under the same fault')
      if (n + 1 < bugs.length) await restart(cluster, bug, (i) => before[i]!)
    })
}

function scenario({ row }: Bug): Fault {
  const fault = chooseFaults(row).find((one) => one.row === row)!
  return { ...fault, boundMs: BOUND_MS }
}

async function restart(cluster: Cluster, { app }: Bug, rewritesOf: (i: number) => readonly Rewrite[]) {
  await Promise.all(
    cluster.of(app).map(async (process, i) => {
      await process.kill()
      await process.start(rewritesOf(i))
    }),
  )
}

async function prove(cluster: Cluster, bug: Bug): Promise<Verdict> {
  const { verdict } = await proveOn(cluster, {
    seed: SEED,
    faults: [scenario(bug)],
    minutes: 0,
    folder: cluster.folder,
    rate: 60,
    conversations: 2,
    changes: bug.changes ?? 0,
    still: true,
    // Until something was recalled, too.
    calmMs: bug.quietFirst ? CALM_MS : bug.changes ? CHANGING_MS : 200,
    pace: 0.5,
    slack: 1,
    leastAccepted: 10,
    finishMs: 5_000,
    say: () => undefined,
  })
  return verdict
}
