/** The process that is measured in the suite `routes`: a task worker's mirror of the sessions, and look-ups as its pushes make them. */
import { readFileSync } from 'node:fs'
import { nowUs } from './clock.js'
import { seeded } from './random.js'
import {
  type Loaded,
  type MirrorAnswer,
  type MirrorCommand,
  NAMESPACE,
  type Phase,
  SessionPlan,
  type Stretch,
  sinceMs,
  type Timed,
  userName,
} from './routes-plan.js'
import { LatencyRecorder } from './statistics.js'

const LOOK_UPS = 500_000
/** Look-ups come in small lots, as entries do: ten thousand a second. */
const EVERY_US = 2_000
const PER_LOT = 20
const EXAMPLES = 5
const log = { info() {}, warn() {}, error() {}, debug() {} }

interface Routes {
  nodesOf(user: string): Iterable<string>
  readonly sessions: number
}
/** The runner lies below the packages and knows them by their built files alone. */
interface Package {
  connectRegistry(options: object): Promise<object>
  mirrorRoutes(registry: object, log: object): Promise<Routes>
}

let plan: SessionPlan
let routes: Routes
const random = seeded(7)
let kept = 0

function lookUp(user: string): void {
  for (const node of routes.nodesOf(user)) kept += node.length
}

async function load({ etcdUrl, sessions }: { etcdUrl: string; sessions: number }): Promise<Loaded> {
  plan = new SessionPlan(sessions)
  const path = '../../../../packages/registry/dist/src/index.js'
  const { connectRegistry, mirrorRoutes } = (await import(new URL(path, import.meta.url).href)) as Package
  const registry = await connectRegistry({ urls: [etcdUrl], namespace: NAMESPACE, leaseSeconds: 60, log })
  const before = collected()
  const cpuBefore = process.cpuUsage()
  const beganUs = nowUs()
  routes = await mirrorRoutes(registry, log)
  const ms = sinceMs(beganUs)
  const { user, system } = process.cpuUsage(cpuBefore)
  const peakMib = statusMib('VmHWM')
  const after = collected()
  watch()
  setInterval(look, EVERY_US / 1_000)
  return {
    ms,
    cpuMs: (user + system) / 1_000,
    bytesPerSession: (after.heapUsed + after.external - before.heapUsed - before.external) / sessions,
    heapBytesPerSession: (after.heapUsed - before.heapUsed) / sessions,
    peakMib,
    residentMib: statusMib('VmRSS'),
  }
}

function collected(): NodeJS.MemoryUsage {
  gc!()
  gc!()
  return process.memoryUsage()
}

function statusMib(field: string): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1_024
}

function time(): Timed {
  const names = (prefix: string): string[] =>
    Array.from({ length: LOOK_UPS }, () => prefix + userName(Math.floor(random() * plan.users)))
  const nsOf = (all: readonly string[]): number => {
    const began = process.cpuUsage()
    // A name out of an entry is a new string each time, whose hash nobody has taken yet.
    for (const name of all) lookUp(name.slice(1))
    const { user, system } = process.cpuUsage(began)
    return ((user + system) * 1_000) / all.length
  }
  nsOf(names('-'))
  return { knownNs: nsOf(names('-')), unknownNs: nsOf(names('-no-')) }
}

let dueUs = 0
let late = new LatencyRecorder()
let before = { sessions: 0, cpu: process.cpuUsage() }
let firstUs = 0
let wanted: { sessions: number; resolve(stretch: Stretch): void } | undefined

function watch(): void {
  late = new LatencyRecorder()
  before = { sessions: routes.sessions, cpu: process.cpuUsage() }
  firstUs = 0
  dueUs = nowUs()
}

/** What was due while the event loop was elsewhere is done now, and counts as late as it is. */
function look(): void {
  const now = nowUs()
  for (; dueUs <= now; dueUs += EVERY_US) {
    for (let i = 0; i < PER_LOT; i++) lookUp(userName(Math.floor(random() * plan.users)))
    late.record(nowUs() - dueUs)
  }
  const { sessions } = routes
  if (firstUs === 0 && sessions !== before.sessions) firstUs = now
  if (sessions !== wanted?.sessions) return
  const { user, system } = process.cpuUsage(before.cpu)
  wanted.resolve({ atUs: now, firstUs, cpuMs: (user + system) / 1_000, late: late.take() })
  wanted = undefined
}

function check(phase: Phase): { wrong: string[] } {
  const wrong: string[] = []
  for (let user = 0; user < plan.users && wrong.length < EXAMPLES; user++) {
    const found = [...routes.nodesOf(userName(user))].sort().join()
    const right = plan.nodesOf(user, phase).join()
    if (found !== right)
      wrong.push(`${userName(user)} is routed to ${found || 'nobody'} instead of ${right || 'nobody'}`)
  }
  return { wrong }
}

async function obey(command: MirrorCommand): Promise<MirrorAnswer> {
  switch (command.do) {
    case 'load':
      return load(command)
    case 'time':
      return time()
    case 'watch':
      watch()
      return { wrong: [] }
    case 'until':
      return new Promise((resolve) => {
        wanted = { sessions: command.sessions, resolve }
      })
    case 'check':
      return check(command.phase)
  }
}

process.on('message', (command: MirrorCommand) => {
  obey(command).then(
    (answer) => process.send!(answer),
    (error: unknown) => process.send!({ failed: String(error) } satisfies MirrorAnswer),
  )
})
// Whoever sent us ends: so do we. What was looked up is used, so that no compiler leaves it out.
process.on('disconnect', () => process.exit(kept < 0 ? 1 : 0))
