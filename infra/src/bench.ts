/** `npm run bench`: what one message costs, how fast it goes, and how much a connection weighs, on the real parts. */
import { mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { runGenerator } from './bench/child.js'
import { renderComparison } from './bench/compare.js'
import type { Figures } from './bench/figures.js'
import { processesFor } from './bench/fleet.js'
import { curvesOf, pointsOf } from './bench/growth.js'
import { horizontalPoints, rowsOf } from './bench/horizontal.js'
import { type Instance, settingsKept, startInstance } from './bench/instance.js'
import { withEtcd } from './bench/lone-etcd.js'
import { describeMachine } from './bench/machine.js'
import { type BenchOptions, parseOptions } from './bench/options.js'
import {
  type Order,
  type RoutesOrder,
  type Scale,
  type ServerProcess,
  type SuiteName,
  USUAL_SUITES,
} from './bench/order.js'
import { writePlot } from './bench/plot.js'
import { readProfile, sumSelfTime } from './bench/profile.js'
import { checkRatios, storeRatios } from './bench/ratios.js'
import { type Report, readReport, renderReport } from './bench/report.js'
import { type Measured, runSeries, type SeriesOptions } from './bench/series.js'
import { checkout } from './checkout.js'
import { Failure } from './failure.js'
import { writeJson } from './files.js'
import { APPS } from './plan.js'

const say = (line: string): void => console.error(`tidings bench: ${line}`)
/** Far more than a suite takes: a generator that hangs is ended. */
const LONGEST_SUITE_MS = 300_000
/** The long suites end by themselves; what they wait for has bounds of its own. */
const LONGEST_LONG_SUITE_MS = 2 * 3_600_000
/** The exit status of a command that a Ctrl-C has ended. */
const INTERRUPTED = 130

/**
 * Runs the suites and prints the table.
 * @returns 1 when a message was lost, doubled, misordered, changed or refused, 130 when interrupted
 */
export async function bench(args: string[]): Promise<number> {
  const options = parseOptions(args)
  // Read first: a wrong name must not cost a run.
  const before = options.compare === undefined ? undefined : readReport(resolve(options.compare))
  if (process.platform !== 'linux')
    throw new Failure('The bench reads CPU times and memory from /proc: run it on Linux.')
  const interrupt = new AbortController()
  // npm passes on what the terminal has sent already: the same signal twice is one wish.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupt.abort())
  const at = new Date().toISOString().replaceAll(':', '-').slice(0, 19)
  const folder = join(checkout, 'bench-results')
  const report: Report = {
    at,
    quick: options.quick,
    profiled: options.profile,
    scale: options.scale,
    settings: settingsKept(process.env),
    machine: undefined,
    suites: [],
    profiles: {},
  }
  try {
    if (options.suites.includes('micro')) report.suites.push(await runMicro(options.scale, interrupt.signal))
    if (options.suites.includes('routes')) await runRoutes(options.scale, report, interrupt.signal)
    for (const suites of sharing(options.suites.filter(runsOnOneInstance)))
      await runShared(suites, options, report, join(folder, at), interrupt.signal)
    if (options.suites.includes('growth')) await runGrowth(options, report, interrupt.signal)
    if (options.suites.includes('horizontal')) await runHorizontal(options, report, interrupt.signal)
  } catch (error) {
    if (!interrupt.signal.aborted) throw error
    say('interrupted; everything that was started has been stopped')
    if (report.suites.length === 0) return INTERRUPTED
  }
  const path = options.json === undefined ? join(folder, `${at}.json`) : resolve(options.json)
  mkdirSync(dirname(path), { recursive: true })
  writeJson(path, report, 0o644)
  for (const line of renderReport(report)) console.log(line)
  const { micro } = report.suites.find(({ suite }) => suite === 'micro') ?? {}
  if (micro && options.check) checkRatios(micro)
  if (micro && options.store) storeRatios(micro)
  if (before) for (const line of renderComparison(before, report, options.compare!)) console.log(line)
  console.log(`\nwritten to ${path}`)
  if (interrupt.signal.aborted) return INTERRUPTED
  return report.suites.some(({ faults }) => faults.length > 0) ? 1 : 0
}

/** The one suite that needs no instance. */
function runMicro(scale: Scale, interrupted: AbortSignal): Promise<Figures> {
  say('running micro')
  return runGenerator({ suite: 'micro', scale }, { interrupted, longestMs: longestOf('micro'), say })
}

/** The one suite that needs an etcd alone. */
async function runRoutes(scale: Scale, report: Report, interrupted: AbortSignal): Promise<void> {
  say('starting etcd for routes')
  await withEtcd(say, async (etcd) => {
    report.machine ??= await describeMachine({ TIDINGS_ETCD_URL: etcd.url })
    const etcdNow = (): ServerProcess => ({ name: 'etcd', pid: etcd.pid })
    const order: RoutesOrder = { suite: 'routes', scale, etcdUrl: etcd.url, processes: [etcdNow()] }
    say(`running routes with ${scale.routeSessions} sessions`)
    const wanted = async (): Promise<ServerProcess> => {
      await etcd.kill()
      await etcd.restart()
      return etcdNow()
    }
    report.suites.push(await runGenerator(order, { interrupted, longestMs: longestOf('routes'), wanted, say }))
  })
}

/** One thing after the other is varied, each on instances of its own. */
async function runGrowth(options: BenchOptions, report: Report, interrupted: AbortSignal): Promise<void> {
  for (const name of options.curves) {
    const points = pointsOf(name, options.quick, name === 'backlog' ? options.mostEntries : undefined)
    const measured: Measured[] = []
    try {
      await runSeries(points, seriesOptions(options, report, interrupted), measured)
    } finally {
      const growth = curvesOf(name, measured)
      if (measured.length > 0) report.suites.push({ suite: 'growth', loads: [], growth, faults: faultsOf(measured) })
    }
    const { growth = [] } = report.suites.at(-1)!
    if (options.plots !== undefined) for (const curve of growth) writePlot(options.plots, curve)
  }
}

async function runHorizontal(options: BenchOptions, report: Report, interrupted: AbortSignal): Promise<void> {
  const measured: Measured[] = []
  try {
    await runSeries(horizontalPoints(), seriesOptions(options, report, interrupted), measured)
  } finally {
    if (measured.length > 0)
      report.suites.push({ suite: 'horizontal', loads: [], horizontal: rowsOf(measured), faults: faultsOf(measured) })
  }
}

const faultsOf = (measured: readonly Measured[]): string[] =>
  measured.flatMap(({ point, figures }) => figures.faults.map((fault) => `${point.crowd}: ${fault}`))

function seriesOptions({ scale }: BenchOptions, report: Report, interrupted: AbortSignal): SeriesOptions {
  return {
    scale,
    say,
    interrupted,
    async started({ urls }) {
      report.machine ??= await describeMachine(urls)
    },
    generate: (instance, order, longestMs) =>
      runGenerator({ ...orderFor(instance), ...order }, { interrupted, longestMs, say }),
  }
}

const runsOnOneInstance = (name: SuiteName): name is Order['suite'] => !ON_OTHERS.has(name)
const ON_OTHERS: ReadonlySet<SuiteName> = new Set(['micro', 'routes', 'growth', 'horizontal'])

/** Suites that run on one instance after the other. Where memory is measured it is a fresh one: a heap that has grown hides what is added. */
function sharing(suites: readonly Order['suite'][]): Order['suite'][][] {
  const sending = suites.filter((name) => SENDING.has(name))
  const alone = suites.filter((name) => !SENDING.has(name)).map((name) => [name])
  return [sending, ...alone].filter((group) => group.length > 0)
}

const SENDING: ReadonlySet<SuiteName> = new Set(['direct', 'batch', 'ws-send', 'latency'])

/** What an instance for a suite needs to be set to. */
function settingsFor(suites: readonly SuiteName[], scale: Scale): Record<string, string> {
  // Batches are refused from half of it on.
  const room = { TIDINGS_MAX_BACKLOG: String(3 * Math.max(scale.backlogEntries, scale.coldEntries)) }
  if (suites.includes('backlog')) return { ...room, TIDINGS_TASK_GROUPS: 'push' }
  if (suites.includes('storm')) return { TIDINGS_CONNECT_NODES: String(processesFor(scale.stormConnections)) }
  if (suites.includes('fanout')) return { TIDINGS_CONNECT_NODES: '2' }
  return suites.includes('cold-catchup') ? room : {}
}

async function runShared(
  suites: readonly Order['suite'][],
  { scale, profile }: BenchOptions,
  report: Report,
  profileFolder: string,
  interrupted: AbortSignal,
): Promise<void> {
  say(`starting an instance for ${suites.join(', ')}`)
  const profiles = profile ? profileFolder : undefined
  if (profiles !== undefined) mkdirSync(profiles, { recursive: true })
  const snapshots = suites.includes('soak')
  const instance = await startInstance({ say, interrupted, profiles, snapshots, env: settingsFor(suites, scale) })
  try {
    report.machine ??= await describeMachine(instance.urls)
    for (const suite of suites) {
      say(`running ${suite}`)
      report.suites.push(await generate(instance, suite, scale, interrupted))
    }
  } finally {
    say('stopping the instance')
    await instance.stop()
  }
  if (profiles !== undefined) addProfiles(report, suites, profiles)
}

/** Runs one suite in a process of its own. @throws Failure when it ends badly */
async function generate(
  instance: Instance,
  suite: Order['suite'],
  scale: Scale,
  interrupted: AbortSignal,
): Promise<Figures> {
  return runGenerator(
    { suite, scale, ...orderFor(instance) },
    { interrupted, longestMs: longestOf(suite), wanted: () => instance.addWorker('persist'), say },
  )
}

/** What a generator must know of the instance. */
function orderFor(instance: Instance): Omit<Order, 'suite' | 'scale'> {
  return {
    api: instance.apis[0]!,
    apis: instance.apis,
    websocket: instance.websocket,
    websockets: instance.websockets,
    jwtSecret: instance.jwtSecret,
    redisUrl: instance.urls.TIDINGS_REDIS_URL,
    mysqlUrl: instance.urls.TIDINGS_MYSQL_URL,
    etcdUrl: instance.urls.TIDINGS_ETCD_URL.split(',')[0]!,
    partitions: instance.partitions,
    processes: instance.processes,
    ...(instance.snapshots !== undefined && { snapshots: instance.snapshots }),
  }
}

const longestOf = (suite: SuiteName): number =>
  USUAL_SUITES.includes(suite) ? LONGEST_SUITE_MS : LONGEST_LONG_SUITE_MS

function addProfiles(report: Report, suites: readonly SuiteName[], folder: string): void {
  const windows = report.suites
    .filter(({ suite }) => suites.includes(suite))
    .flatMap(({ loads, idle }) => [...loads.flatMap(({ runs }) => runs), ...(idle ? [idle] : [])])
    .map(({ window }) => window)
  if (windows.length === 0) return
  const nameOf = (url: string): string => url.replace(/^file:\/\//, '').replace(`${checkout}/`, '')
  for (const app of APPS)
    report.profiles[`${app} (${suites.join(', ')})`] = sumSelfTime(
      readProfile(join(folder, `${app}.cpuprofile`)),
      windows,
      nameOf,
    ).slice(0, 50)
}
