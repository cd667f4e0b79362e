/** What an instance consists of: its ports, its stores and its apps, described before anything is started. */
import { createECDH } from 'node:crypto'
import { join, resolve } from 'node:path'
import { type Settings, settings } from '@tidings/service'
import { checkout } from './checkout.js'
import { asRecord, type DataFolder, type Secrets, storeHome } from './data.js'
import { etcd } from './etcd.js'
import { Failure } from './failure.js'
import { readJson, writeJson } from './files.js'
import { endListing } from './listing.js'
import { mysql } from './mysql.js'
import { checkOpen, listenError, PortPicker, preferredPort } from './ports.js'
import type { Programs, StoreName } from './programs.js'
import { redis } from './redis.js'
import { checkHosts, isGiven, portTaken } from './settings.js'
import { type Place, STORE_READY_MS, type Store } from './store.js'
import type { Part } from './supervisor.js'

/** The four apps. */
export const APPS = ['logic', 'api', 'task', 'connect'] as const
export type AppName = (typeof APPS)[number]

/** One app process to run. */
export interface AppPlan {
  app: AppName
  instance: string
  ports: Record<string, number>
  env: Record<string, string>
}

/** Where the stores answer. */
export interface StoreUrls {
  TIDINGS_REDIS_URL: string
  TIDINGS_MYSQL_URL: string
  TIDINGS_ETCD_URL: string
}

/**
 * What V8 is told. A connect node holds many sessions that rest: with its usual bounds it would keep for good what a rush of openings
 * has left behind, several times what the sessions weigh.
 */
const FLAGS: Partial<Record<AppName, readonly string[]>> = {
  connect: ['--max-semi-space-size=4', '--heap-growing-percent=30'],
}

/** The name of the key for operators that `npm start` makes where none is given. */
export const LOCAL_ADMIN = 'local'

/** How long an app may take to be ready; two cores start four of them at once. */
const APP_READY_MS = 60_000
/** More for those that wait for logic, so that it is logic that is named when it does not come. */
const BEHIND_LOGIC_MS = 5_000

/** The ports of a data folder: the same ones at every start, as long as they are free. */
export class PortBook {
  readonly #picker = new PortPicker()
  readonly #known: Record<string, unknown>
  readonly #first: number

  constructor(readonly data: DataFolder) {
    this.#known = asRecord(readJson(data.ports))
    this.#first = preferredPort(data.path)
  }

  /** The remembered port of a name, or the next free one, which is remembered from now on. */
  async own(name: string): Promise<number> {
    const before = this.#known[name]
    const port =
      typeof before === 'number' && (await this.#picker.take(before)) ? before : await this.#picker.next(this.#first)
    if (port !== before) {
      this.#known[name] = port
      writeJson(this.data.ports, this.#known)
    }
    return port
  }

  /** Exactly this port, or nothing when it is taken. */
  async exactly(port: number, host: string): Promise<number | undefined> {
    return (await this.#picker.take(port, host)) ? port : undefined
  }

  /** The first free port from one on. */
  next(port: number, host: string): Promise<number> {
    return this.#picker.next(port, host)
  }
}

/** Describes the stores that no URL was given for. */
export async function planStores(
  data: DataFolder,
  secrets: Secrets,
  programs: Programs,
  book: PortBook,
  wanted: readonly StoreName[],
): Promise<Store[]> {
  const home = storeHome(data)
  const place = (name: StoreName): Place => ({
    programs,
    folder: join(home.folder, name),
    log: join(data.logs, `${name}.log`),
    account: home.account,
  })
  const stores: Store[] = []
  if (wanted.includes('redis')) stores.push(redis(place('redis'), await book.own('redis')))
  if (wanted.includes('mysql')) stores.push(mysql(place('mysql'), await book.own('mysql'), { password: secrets.mysql }))
  if (wanted.includes('etcd'))
    stores.push(etcd(place('etcd'), { client: await book.own('etcd'), peer: await book.own('etcd.peer') }))
  return stores
}

/** A store as something to keep running. */
export function storePart(store: Store): Part {
  return { ...store, instance: store.name, readyMs: STORE_READY_MS }
}

/** Describes the app processes, with the ports they listen on. @param chosen the public ones, when they have been taken already */
export async function planApps(
  config: Settings,
  secrets: Secrets,
  urls: StoreUrls,
  book: PortBook,
  chosen?: ReadonlyMap<string, number>,
): Promise<AppPlan[]> {
  const counts = countsOf(config)
  const publicPorts = chosen ?? (await takePublicPorts(config, book))
  const shared = {
    ...urls,
    TIDINGS_JWT_SECRET: config.TIDINGS_JWT_SECRET ?? secrets.jwt,
    TIDINGS_FILES_DIR: resolve(checkout, config.TIDINGS_FILES_DIR ?? book.data.files),
    ...vapidEnv(config, secrets),
  }
  const plans: AppPlan[] = []
  for (const app of APPS) {
    for (let n = 1; n <= counts[app]; n++) {
      const name = `${app}-${n}`
      // A name that was given tells several machines on the same stores apart.
      const instance = config.TIDINGS_INSTANCE ? `${config.TIDINGS_INSTANCE}-${name}` : name
      const ops =
        config.TIDINGS_OPS_PORT === 0
          ? await book.own(`${name}.ops`)
          : await book.next(config.TIDINGS_OPS_PORT, config.TIDINGS_OPS_HOST)
      const ports: Record<string, number> = { ops }
      const env: Record<string, string> = { ...shared, TIDINGS_INSTANCE: instance, TIDINGS_OPS_PORT: String(ops) }
      if (app === 'api' && config.TIDINGS_ADMIN_KEYS.length === 0)
        env.TIDINGS_ADMIN_KEYS = `${LOCAL_ADMIN}:${secrets.admin}`
      const open = publicPorts.get(name)
      if (open !== undefined) {
        ports[app === 'api' ? 'http' : 'ws'] = open
        env[app === 'api' ? 'TIDINGS_API_PORT' : 'TIDINGS_CONNECT_PORT'] = String(open)
      }
      if ((app === 'logic' || app === 'connect') && config.TIDINGS_RPC_PORT !== 0) {
        ports.rpc = await book.next(config.TIDINGS_RPC_PORT, config.TIDINGS_RPC_HOST)
        env.TIDINGS_RPC_PORT = String(ports.rpc)
      }
      plans.push({ app, instance, ports, env })
    }
  }
  return plans
}

/** Both keys from one place: of half a pair the apps say that it is one. */
function vapidEnv(config: Settings, secrets: Secrets): Record<string, string> {
  if (config.TIDINGS_VAPID_PUBLIC_KEY !== undefined || config.TIDINGS_VAPID_PRIVATE_KEY !== undefined) return {}
  const pair = createECDH('prime256v1')
  pair.setPrivateKey(secrets.vapid, 'base64url')
  return { TIDINGS_VAPID_PUBLIC_KEY: pair.getPublicKey('base64url'), TIDINGS_VAPID_PRIVATE_KEY: secrets.vapid }
}

function countsOf(config: Settings): Record<AppName, number> {
  return {
    logic: config.TIDINGS_LOGIC_NODES,
    api: config.TIDINGS_API_NODES,
    task: config.TIDINGS_TASK_WORKERS,
    connect: config.TIDINGS_CONNECT_NODES,
  }
}

/**
 * Chooses the ports that people see, by instance. The first of each app gets the port of its setting before any further one
 * counts up into it.
 * @throws ConfigError when a port that was asked for is taken, or an address is not of this machine
 */
export async function takePublicPorts(config: Settings, book: PortBook): Promise<Map<string, number>> {
  await checkHosts(config)
  const counts = countsOf(config)
  const taken = new Map<string, number>()
  const variables = { api: 'TIDINGS_API_PORT', connect: 'TIDINGS_CONNECT_PORT' } as const
  for (const app of ['api', 'connect'] as const) {
    const variable = variables[app]
    const port = config[variable]
    if (port === 0) taken.set(`${app}-1`, await book.own(`${app}-1`))
    else {
      const exact = await book.exactly(port, config.TIDINGS_HOST)
      if (exact === undefined && isGiven(variable))
        throw portTaken(variable, port, await listenError(port, config.TIDINGS_HOST))
      taken.set(`${app}-1`, exact ?? (await book.next(port + 1, config.TIDINGS_HOST)))
    }
  }
  for (const app of ['api', 'connect'] as const) {
    for (let n = 2; n <= counts[app]; n++)
      taken.set(`${app}-${n}`, await book.next(taken.get(`${app}-${n - 1}`)! + 1, config.TIDINGS_HOST))
  }
  return taken
}

/** An app as something to keep running. */
export function appPart(data: DataFolder, plan: AppPlan, config: Settings): Part {
  return {
    name: plan.app,
    instance: plan.instance,
    ports: plan.ports,
    log: join(data.logs, `${plan.instance}.log`),
    readyMs: plan.app === 'logic' ? APP_READY_MS : APP_READY_MS + BEHIND_LOGIC_MS,
    command: () => ({
      file: process.execPath,
      args: ['--enable-source-maps', ...(FLAGS[plan.app] ?? []), join(checkout, 'apps', plan.app, 'dist/src/main.js')],
      env: { ...appEnvironment(process.env), ...plan.env },
      cwd: checkout,
    }),
    probe: async () => {
      await checkReady(opsUrl(config.TIDINGS_OPS_HOST, plan.ports.ops!))
      // The next thing is a printed call that must work: what people connect to has to be open as well.
      const open = plan.ports.http ?? plan.ports.ws
      if (open !== undefined) await checkOpen(reachable(config.TIDINGS_HOST), open)
    },
    buried: () => endListing(firstOf(plan.env.TIDINGS_ETCD_URL!), config.TIDINGS_NAMESPACE, plan.app, plan.instance),
  }
}

/** The first of several endpoints. */
export function firstOf(urls: string): string {
  return urls.split(',')[0]!.trim()
}

/** Everything of the person's environment but what npm adds for its own scripts. */
export function appEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const entries = Object.entries(env).filter(
    ([name, value]) => !name.startsWith('npm_') && !(Object.hasOwn(settings, name) && value === ''),
  )
  return { ...Object.fromEntries(entries), NODE_ENV: env.NODE_ENV ?? 'production' }
}

/** The address of an app's ops port as seen from this machine. */
export function opsUrl(host: string, port: number): string {
  return `http://${reachable(host)}:${port}`
}

/** An address to connect to, for one to listen on. */
export function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}

/** Asks /readyz. Throws with the names of the failing checks. */
export async function checkReady(ops: string): Promise<void> {
  const answer = await fetch(`${ops}/readyz`, { signal: AbortSignal.timeout(2_000) })
  if (answer.status === 200) return
  const { checks } = asRecord(await answer.json().catch(() => undefined))
  const failing = Object.entries(asRecord(checks)).filter(([, result]) => result !== 'ok')
  throw new Failure(
    failing.map(([name, result]) => `${name}: ${String(result)}`).join(', ') || `/readyz answers ${answer.status}`,
  )
}
