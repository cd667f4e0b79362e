/** A run: a cluster, a crowd, faults, the end, and the verdict. */
import { join } from 'node:path'
import { check, type Verdict } from './check/checker.js'
import { type AppName, residentBytes } from './cluster/app.js'
import { type Cluster, startCluster } from './cluster/cluster.js'
import type { RedisKind } from './cluster/redis.js'
import type { Fault } from './faults/fault.js'
import { failEnd, readAll, settle } from './final.js'
import { History } from './history.js'
import { chanceOf } from './load/chance.js'
import { type Crowd, makeCrowd } from './load/crowd.js'
import { createNemesis } from './nemesis.js'
import type { Rewrite } from './rewrite/rewrite.js'
import { inTime, pause } from './until.js'

export interface RunOptions {
  seed: number
  /** Each is done once; then, as long as the minutes last, further ones by chance. */
  faults: readonly Fault[]
  minutes: number
  /** Where logs, data and the history go. */
  folder: string
  /** Messages a second. */
  rate: number
  conversations: number
  /** Changes and pushes a second, beside the messages; none when left out. */
  changes?: number
  count: Record<AppName, number>
  redis?: RedisKind
  env?: Record<string, string>
  /** Bugs to plant. */
  rewrites?: Partial<Record<AppName, readonly Rewrite[]>>
  /** One device a user, and none that comes and goes. */
  still?: boolean
  /** Before the first fault. */
  calmMs?: number
  /** Factor on how long the faults last. */
  pace: number
  /** Factor on the bounds of recovery. */
  slack: number
  leastAccepted: number
  /** Longest wait for the end: until all is settled, and for the last reads. */
  finishMs: number
  say(line: string): void
  signal?: AbortSignal
}

/** A cluster that is there has its processes and settings. */
export type ProveOptions = Omit<RunOptions, 'count' | 'redis' | 'env' | 'rewrites'>

export interface RunResult {
  verdict: Verdict
  history: string
}

const CALM_MS = 1_000
/** Few, for a run may be short. */
const LEAST_CHANGES = 5
const SAMPLE_MS = 1_000
/** What is sent again may itself be forgotten. */
const RESEND_ROUNDS = 3

/** @throws when the cluster does not start; a breach is in the verdict, not thrown */
export async function run(options: RunOptions): Promise<RunResult> {
  const { faults, folder } = options
  const rewrites: Partial<Record<AppName, readonly Rewrite[]>> = { ...options.rewrites }
  for (const fault of faults)
    for (const [app, ofApp] of Object.entries(fault.rewrites?.(folder) ?? {}))
      rewrites[app as AppName] = together(rewrites[app as AppName] ?? [], ofApp)
  const needs = [...new Set(faults.flatMap((fault) => fault.needs ?? []))]
  const cluster = await startCluster({ ...options, rewrites, needs })
  try {
    return await proveOn(cluster, options)
  } finally {
    await cluster.stop()
  }
}

/** Each change once, though several faults ask for it. */
function together(some: readonly Rewrite[], more: readonly Rewrite[]): Rewrite[] {
  const there = new Set(some.map((one) => JSON.stringify(one)))
  return [...some, ...more.filter((one) => !there.has(JSON.stringify(one)))]
}

/** A run on a cluster that is there already and stays. */
export async function proveOn(cluster: Cluster, options: ProveOptions): Promise<RunResult> {
  const { seed, faults, folder, rate, conversations } = options
  const name = `r${Date.now().toString(36)}`
  const path = join(folder, `history-${name}.jsonl`)
  const history = new History(name, path)
  const tailLost = faults.some((fault) => fault.tailLost)
  const crowd = makeCrowd({
    target: cluster,
    history,
    seed,
    name,
    conversations,
    rate,
    changes: options.changes ?? 0,
    tailLost,
    still: options.still ?? false,
  })
  const plan = () =>
    crowd.plan({
      voids: tailLost || faults.some((fault) => fault.voids),
      tailLost,
      leastAccepted: options.leastAccepted,
      leastChanges: options.changes ? LEAST_CHANGES : 0,
      slack: options.slack,
    })
  const sampling = setInterval(() => sample(cluster, history), SAMPLE_MS)
  try {
    options.say('opening the devices')
    await crowd.start()
    await strikeAll(cluster, crowd, history, options)
    await finish(cluster, crowd, history, options)
  } finally {
    clearInterval(sampling)
    await crowd.stop()
    // Last: only now all devices are known.
    history.record({ proc: 'prover', type: 'info', f: 'plan', data: plan() })
    await history.close()
  }
  return { verdict: check(history.events), history: path }
}

function sample(cluster: Cluster, history: History): void {
  for (const app of cluster.apps.values()) {
    const rss = residentBytes(app)
    if (rss !== undefined) history.record({ proc: app.instance, type: 'ok', f: 'sample', data: { rss } })
  }
}

async function strikeAll(cluster: Cluster, crowd: Crowd, history: History, options: ProveOptions): Promise<void> {
  const { faults, seed, minutes, pace, slack, say, signal } = options
  const chance = chanceOf(seed + 1)
  const nemesis = createNemesis({ cluster, crowd, history, chance, pace, slack, say, signal })
  const end = performance.now() + minutes * 60_000
  await pause(options.calmMs ?? CALM_MS)
  for (const fault of faults) {
    if (signal?.aborted) return
    await nemesis.strike(fault)
    await pause(CALM_MS * pace)
  }
  while (performance.now() < end && !signal?.aborted) {
    if (faults.length === 0) await pause(200)
    else await nemesis.strike(chance.pick(faults))
  }
}

async function finish(cluster: Cluster, crowd: Crowd, history: History, options: ProveOptions): Promise<void> {
  const { finishMs, say, signal } = options
  say('no more messages; waiting until everything is settled')
  await crowd.finish(finishMs)
  let left = await settle(cluster, finishMs)
  if (options.faults.some(({ tailLost }) => tailLost)) {
    const again = (): Promise<number> => inTime('sending again', crowd.sendAgain(), finishMs, signal)
    try {
      for (let round = 0; round < RESEND_ROUNDS && (await again()) > 0; round++) await settle(cluster, finishMs)
    } catch (error) {
      failEnd(history, 'what was lost is sent again', error instanceof Error ? error.message : String(error))
    }
    left = await settle(cluster, finishMs)
  }
  if (left !== undefined) failEnd(history, 'everything is settled', left)
  say('reading everything')
  await readAll(cluster, crowd, cluster, history, finishMs)
}
