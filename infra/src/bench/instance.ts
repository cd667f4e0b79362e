/** A complete Tidings of the bench's own: empty, on free ports, one process of each app, gone with its data at the end. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { migrate } from '@tidings/migrations'
import { checkout } from '../checkout.js'
import { type DataFolder, dataFolder, prepareData, secretsOf, storeHome } from '../data.js'
import { Failure } from '../failure.js'
import { holderOf, takeLock } from '../lock.js'
import { findBinaries } from '../packages.js'
import { type AppPlan, appPart, opsUrl, PortBook, planApps, planStores, type StoreUrls, storePart } from '../plan.js'
import { type Programs, STORES } from '../programs.js'
import { type RedisCluster, startRedisCluster } from '../redis-cluster.js'
import { readSettings } from '../settings.js'
import { type Child, endInOrder, readState, stillRunning, writeState } from '../state.js'
import { type Part, Supervisor } from '../supervisor.js'
import { snapshotFlags } from './heap.js'
import type { Address, ServerProcess } from './order.js'

/** The instance is the bench's own, whatever the person's settings say; all other settings hold. */
const FIXED = {
  TIDINGS_API_NODES: '1',
  TIDINGS_LOGIC_NODES: '1',
  TIDINGS_TASK_WORKERS: '1',
  TIDINGS_CONNECT_NODES: '1',
  TIDINGS_REDIS_URL: '',
  TIDINGS_MYSQL_URL: '',
  TIDINGS_ETCD_URL: '',
  TIDINGS_NAMESPACE: '',
  TIDINGS_INSTANCE: '',
  TIDINGS_HOST: '127.0.0.1',
  TIDINGS_RPC_HOST: '127.0.0.1',
  TIDINGS_OPS_HOST: '127.0.0.1',
  TIDINGS_API_PORT: '0',
  TIDINGS_CONNECT_PORT: '0',
  TIDINGS_RPC_PORT: '0',
  TIDINGS_OPS_PORT: '0',
  TIDINGS_JWT_SECRET: '',
  TIDINGS_RATE_LIMITS: 'off',
}

/** An instance that is ready. */
export interface Instance {
  data: DataFolder
  /** Of every api process. */
  apis: Address[]
  websocket: string
  /** Of every connect process. */
  websockets: string[]
  jwtSecret: string
  urls: StoreUrls
  partitions: number
  snapshots?: string
  processes: ServerProcess[]
  /** Starts another task worker, for these groups. */
  addWorker(groups: string): Promise<ServerProcess>
  /** Ends it in order and removes its data. May be called twice. */
  stop(): Promise<void>
}

export interface InstanceOptions {
  say: (line: string) => void
  interrupted: AbortSignal
  /** Folder for a CPU profile of each app, written when it ends. */
  profiles: string | undefined
  /** Settings of this instance, on top of the person's. */
  env: Record<string, string>
  /** Its apps write snapshots of their heaps when they are sent a signal; see heap.ts. */
  snapshots?: boolean
  /** Its Redis is a cluster of three shards. */
  cluster?: boolean
}

/** The settings that the person has set and that hold in the bench too, by name. */
export function settingsKept(env: NodeJS.ProcessEnv): string[] {
  return Object.keys(env).filter(
    (name) => name.startsWith('TIDINGS_') && name !== 'TIDINGS_DATA_DIR' && !(name in FIXED),
  )
}

/** @throws Failure when a part does not come up, or the wait is interrupted; nothing is left then */
export async function startInstance(options: InstanceOptions): Promise<Instance> {
  await removeLeftovers(options.say)
  const data = dataFolder(`.tidings/bench-${process.pid}`)
  prepareData(data)
  const release = takeLock(data)
  const supervisor = new Supervisor({
    say: options.say,
    changed: (children) => writeState(data, { children }),
  })
  let cluster: RedisCluster | undefined
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopping ??= supervisor.stop().then(async () => {
      await cluster?.stop()
      release()
      removeData(data)
    })
    return stopping
  }
  const isUp = new AbortController()
  const whenInterrupted = new Promise<never>((_, reject) => {
    const once = { once: true, signal: isUp.signal }
    options.interrupted.addEventListener('abort', () => reject(new Failure('interrupted')), once)
  })
  whenInterrupted.catch(() => undefined)
  try {
    const up = bringUp(data, supervisor, options, async (programs) => {
      const dir = join(storeHome(data).folder, 'cluster')
      cluster = await startRedisCluster({ dir, programs, durable: true })
      return cluster
    })
    // Interrupted half-way: the steps still under way fail one after the other, and nobody waits for them.
    up.catch(() => undefined)
    return { ...(await Promise.race([up, whenInterrupted])), stop }
  } catch (error) {
    await stop()
    throw error
  } finally {
    isUp.abort()
  }
}

async function bringUp(
  data: DataFolder,
  supervisor: Supervisor,
  { say, profiles, env, snapshots = false, cluster: wantsCluster = false }: InstanceOptions,
  startCluster: (programs: Programs) => Promise<RedisCluster>,
): Promise<Omit<Instance, 'stop'>> {
  const config = readSettings({ ...process.env, ...FIXED, ...env })
  const secrets = secretsOf(data)
  const book = new PortBook(data)
  const programs = await findBinaries(checkout, say)
  const own = wantsCluster ? STORES.filter((name) => name !== 'redis') : STORES
  const stores = await planStores(data, secrets, programs, book, own)
  await all(stores.map((store) => supervisor.start(storePart(store))))
  const cluster = wantsCluster ? await startCluster(programs) : undefined
  const url = (name: string): string => stores.find((store) => store.name === name)?.url ?? cluster!.url
  const urls = { TIDINGS_REDIS_URL: url('redis'), TIDINGS_MYSQL_URL: url('mysql'), TIDINGS_ETCD_URL: url('etcd') }
  await migrate(urls.TIDINGS_MYSQL_URL)
  const plans = await planApps(config, secrets, urls, book)
  const snapshotFolder = snapshots ? join(data.path, 'snapshots') : undefined
  if (snapshotFolder !== undefined) mkdirSync(snapshotFolder, { recursive: true })
  const start = (plan: AppPlan): Promise<void> => {
    const part = appPart(data, { ...plan, env: { ...FIXED, ...env, ...plan.env } }, config)
    const flags = [
      ...(profiles === undefined ? [] : profilerFlags(part.name, profiles)),
      ...(snapshotFolder === undefined ? [] : snapshotFlags(snapshotFolder)),
    ]
    return supervisor.start(withFlags(part, flags))
  }
  await all(plans.map(start))
  const websockets = plans
    .filter(({ app }) => app === 'connect')
    .map(({ ports }) => `ws://127.0.0.1:${ports.ws}/api/v1/ws`)
  return {
    data,
    apis: plans.filter(({ app }) => app === 'api').map(({ ports }) => ({ host: '127.0.0.1', port: ports.http! })),
    websocket: websockets[0]!,
    websockets,
    jwtSecret: secrets.jwt,
    urls,
    partitions: config.TIDINGS_PARTITIONS,
    ...(snapshotFolder !== undefined && { snapshots: snapshotFolder }),
    processes: [
      ...supervisor.children.map(({ name, pid, ports: { ops } }) => ({
        name,
        pid,
        ...(ops !== undefined && { ops: opsUrl('127.0.0.1', ops) }),
      })),
      ...(cluster?.shards ?? []).map(({ pid }) => ({ name: 'redis', pid })),
    ],
    async addWorker(groups) {
      const first = plans.find((plan) => plan.app === 'task')!
      const instance = 'task-2'
      const ops = await book.own(`${instance}.ops`)
      const own = { TIDINGS_INSTANCE: instance, TIDINGS_OPS_PORT: String(ops), TIDINGS_TASK_GROUPS: groups }
      // What is set for the plan wins over the instance's settings.
      await start({ app: 'task', instance, ports: { ops }, env: { ...first.env, ...own } })
      const { pid } = supervisor.children.find((child) => child.instance === instance)!
      return { name: `task (${groups})`, pid }
    },
  }
}

/** Waits for all of them, and only then fails with the first that did: nothing is still starting behind our back. */
async function all(starts: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(starts)).find((each) => each.status === 'rejected')
  if (failed) throw failed.reason
}

const profilerFlags = (name: string, folder: string): string[] => [
  '--cpu-prof',
  `--cpu-prof-dir=${folder}`,
  `--cpu-prof-name=${name}.cpuprofile`,
]

/** An app with flags for Node in front. */
function withFlags(part: Part, flags: readonly string[]): Part {
  return {
    ...part,
    command() {
      const command = part.command()
      return { ...command, args: [...flags, ...command.args] }
    },
  }
}

/** A bench that was killed leaves its processes and its data behind. */
async function removeLeftovers(say: (line: string) => void): Promise<void> {
  const folder = join(checkout, '.tidings')
  // A fresh clone has none yet.
  if (!existsSync(folder)) return
  for (const name of readdirSync(folder).filter((each) => /^bench-\d+$/.test(each))) {
    const data = dataFolder(`.tidings/${name}`)
    if (holderOf(data)) continue
    say(`removing what an earlier bench left behind in .tidings/${name}`)
    await endInOrder(leftIn(data), say)
    removeData(data)
  }
}

function leftIn(data: DataFolder): Child[] {
  return stillRunning(readState(data).children)
}

function removeData(data: DataFolder): void {
  // The stores' data may lie elsewhere: see storeHome.
  for (const folder of new Set([data.path, storeHome(data).folder]))
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
}
