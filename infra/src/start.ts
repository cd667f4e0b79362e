/** `npm start`: stores, migration, apps, in this order; then watch over them until someone says stop. */
import { statSync } from 'node:fs'
import { migrate } from '@tidings/migrations'
import { ConfigError, type Settings } from '@tidings/service'
import { checkout } from './checkout.js'
import { closeInOrder } from './close.js'
import {
  type DataFolder,
  dataFolder,
  dataSetName,
  notePartitions,
  partitionsRefusal,
  prepareData,
  type Secrets,
  secretsOf,
} from './data.js'
import { DEMO_USERS, ensureDemoUsers } from './demo.js'
import { Failure, reasonOf } from './failure.js'
import { type Finding, lookAtEtcd, lookAtMysql } from './given.js'
import { lookAtRedis } from './given-redis.js'
import { endListing } from './listing.js'
import { takeLock } from './lock.js'
import { rotateLogs } from './logs.js'
import { findBinaries } from './packages.js'
import {
  type AppPlan,
  appPart,
  PortBook,
  planApps,
  planStores,
  reachable,
  type StoreUrls,
  storePart,
  takePublicPorts,
} from './plan.js'
import { STORES } from './programs.js'
import { readSettings } from './settings.js'
import { clearState, endInOrder, readState, type State, stillRunning, writeState } from './state.js'
import { Supervisor } from './supervisor.js'
import { mintToken } from './tokens.js'

/** What starting the apps needs to know. */
export interface Stage {
  data: DataFolder
  config: Settings
  plans: AppPlan[]
  supervisor: Supervisor
}

const say = (line: string): void => console.log(`tidings: ${line}`)
const DEMO_TOKEN_SECONDS = 24 * 3600

/** Starts everything and stays until SIGINT, SIGTERM or SIGHUP. */
export async function start(): Promise<number> {
  return run(startApps)
}

/** The common part of `start` and `dev`. @param apps starts the app processes and waits until they are ready */
export async function run(apps: (stage: Stage) => Promise<void>): Promise<number> {
  const config = readSettings(process.env)
  const data = dataFolder(config.TIDINGS_DATA_DIR)
  prepareData(data)
  const release = takeLock(data)
  const interrupted = untilInterrupted()
  const state: State = { children: [] }
  const supervisor = new Supervisor({
    say,
    beforeStores: async () => {
      if (state.dataSet) await closeInOrder(state.dataSet, say)
    },
    changed: (children) => {
      state.children = children
      writeState(data, state)
    },
  })
  try {
    await endLeftovers(data)
  } catch (error) {
    // The state stays as it is: nothing else tells what still runs.
    release()
    throw error
  }
  try {
    const up = bringUp(config, data, supervisor, state, apps)
    // Interrupted half-way: the steps still under way fail one after the other, and nobody waits for them.
    up.catch(() => undefined)
    await Promise.race([up, interrupted])
    await interrupted
    say('stopping')
    return 0
  } finally {
    await supervisor.stop()
    clearState(data)
    release()
    if (state.children.length > 0) say('stopped')
  }
}

function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    // npm passes on what the terminal has sent already: the same signal twice is one wish.
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => resolve())
    if (process.env.npm_lifecycle_event === undefined) return
    // npm, or the shell it runs us in, may be killed without a word to us: we stop when our parent is another one.
    const parent = process.ppid
    const timer = setInterval(() => {
      if (process.ppid === parent) return
      clearInterval(timer)
      resolve()
    }, 250)
    timer.unref()
  })
}

/** A runner that was killed leaves its processes behind: they hold the data and the ports. */
async function endLeftovers(data: DataFolder): Promise<void> {
  const { children, dataSet } = readState(data)
  const left = stillRunning(children)
  if (left.length === 0) return
  say(`stopping what an earlier run left behind: ${left.map((child) => child.instance).join(', ')}`)
  await endInOrder(left, say, dataSet && (() => closeInOrder(dataSet, say)))
}

async function bringUp(
  config: Settings,
  data: DataFolder,
  supervisor: Supervisor,
  state: State,
  apps: (stage: Stage) => Promise<void>,
): Promise<void> {
  const dataSet = dataSetName(config.TIDINGS_REDIS_URL, config.TIDINGS_NAMESPACE)
  const refusal = partitionsRefusal(data, dataSet, config.TIDINGS_PARTITIONS)
  if (refusal) throw new ConfigError(refusal)
  const secrets = secretsOf(data)
  const book = new PortBook(data)
  const publicPorts = await takePublicPorts(config, book)
  const stopRotating = rotateLogs(data.logs)
  process.once('exit', stopRotating)
  const urls = await startStores(config, data, secrets, book, supervisor)
  notePartitions(data, dataSet, config.TIDINGS_PARTITIONS)
  const applied = await migrateOrExplain(urls.TIDINGS_MYSQL_URL)
  if (applied.length > 0) say(`migrated the database: ${applied.join(', ')}`)
  const plans = await planApps(config, secrets, urls, book, publicPorts)
  // In an etcd of our own only this folder's processes are listed, and none of them runs now. In a shared one another
  // machine may use the same name: there a listing runs out by itself.
  if (!config.TIDINGS_ETCD_URL) {
    await Promise.all(
      plans.map((plan) => endListing(urls.TIDINGS_ETCD_URL, config.TIDINGS_NAMESPACE, plan.app, plan.instance)),
    )
  }
  if (!config.TIDINGS_REDIS_URL) {
    state.dataSet = {
      redisUrl: urls.TIDINGS_REDIS_URL,
      mysqlUrl: urls.TIDINGS_MYSQL_URL,
      namespace: config.TIDINGS_NAMESPACE,
      partitions: config.TIDINGS_PARTITIONS,
    }
    writeState(data, state)
  }
  await apps({ data, config, plans, supervisor })
  const { api, websocket } = addresses(config, plans)
  state.urls = { api, websocket }
  writeState(data, state)
  const note = await ensureDemoUsers(data, api)
  console.log(welcome(data, api, websocket, config.TIDINGS_JWT_SECRET ?? secrets.jwt, note))
}

/** Starts our own stores, all at once, and has a look at those that were given. */
async function startStores(
  config: Settings,
  data: DataFolder,
  secrets: Secrets,
  book: PortBook,
  supervisor: Supervisor,
): Promise<StoreUrls> {
  const given = { redis: config.TIDINGS_REDIS_URL, mysql: config.TIDINGS_MYSQL_URL, etcd: config.TIDINGS_ETCD_URL }
  await checkGiven(config)
  const wanted = STORES.filter((name) => !given[name])
  const urls = new Map<string, string>()
  if (wanted.length > 0) {
    const programs = await findBinaries(checkout, say, wanted)
    const stores = await planStores(data, secrets, programs, book, wanted)
    say(`starting ${stores.map((store) => store.name).join(', ')}`)
    const started = await Promise.allSettled(stores.map((store) => supervisor.start(storePart(store))))
    const failed = started.find((each) => each.status === 'rejected')
    if (failed) throw failed.reason
    for (const store of stores) urls.set(store.name, store.url)
  }
  return {
    TIDINGS_REDIS_URL: given.redis ?? urls.get('redis')!,
    TIDINGS_MYSQL_URL: given.mysql ?? urls.get('mysql')!,
    TIDINGS_ETCD_URL: given.etcd?.join(',') ?? urls.get('etcd')!,
  }
}

async function checkGiven(config: Settings): Promise<void> {
  const looks: Promise<Finding[]>[] = []
  if (config.TIDINGS_REDIS_URL) looks.push(lookAtRedis(config.TIDINGS_REDIS_URL))
  if (config.TIDINGS_MYSQL_URL) looks.push(lookAtMysql(config.TIDINGS_MYSQL_URL))
  if (config.TIDINGS_ETCD_URL) looks.push(lookAtEtcd(config.TIDINGS_ETCD_URL))
  const findings = (await Promise.all(looks)).flat()
  for (const { level, text } of findings) if (level === 'warn') say(`warning: ${text}`)
  const bad = findings.filter((finding) => finding.level === 'fail')
  if (bad.length > 0) throw new Failure(bad.map((finding) => finding.text).join('\n'))
}

/** All at once: those that need logic call themselves ready when it is there, and loading their modules is most of what each has to do. */
async function startApps({ data, config, plans, supervisor }: Stage): Promise<void> {
  for (const { app } of plans) checkBuilt(app)
  say(`starting ${plans.map((plan) => plan.instance).join(', ')}`)
  await Promise.all(plans.map((plan) => supervisor.start(appPart(data, plan, config))))
}

function checkBuilt(app: string): void {
  const main = `apps/${app}/dist/src/main.js`
  if (!statSync(`${checkout}/${main}`, { throwIfNoEntry: false }))
    throw new Failure(`${main} is missing: run "npm run build" and look at what it says.`)
}

/** Where people reach the first api and the first connect node. */
function addresses(config: Settings, plans: AppPlan[]): { api: string; websocket: string } {
  const host = reachable(config.TIDINGS_HOST)
  const port = (app: string, name: string): number => plans.find((plan) => plan.app === app)!.ports[name]!
  return { api: `http://${host}:${port('api', 'http')}`, websocket: `ws://${host}:${port('connect', 'ws')}/api/v1/ws` }
}

function welcome(data: DataFolder, api: string, websocket: string, secret: string, note: string | undefined): string {
  const token = mintToken(secret, 'alice', DEMO_TOKEN_SECONDS)
  const users = note ?? `${DEMO_USERS.join(' and ')}, passwords in ${data.demo}`
  return [
    '',
    `tidings ready  api ${api}/api/v1  docs ${api}/docs  websocket ${websocket}`,
    `  demo users   ${users}`,
    '  watch as bob npm run listen -- bob',
    '  send as alice (the token is good for 24 hours)',
    `curl -sS -X POST ${api}/api/v1/messages -H 'authorization: Bearer ${token}' -H 'content-type: application/json' -d '{"to":{"user":"bob"},"content":{"text":"hello"}}'`,
    `  data and logs ${data.path}   stop: Ctrl-C`,
    '',
  ].join('\n')
}

/** `npm run migrate`: brings the given database, or that of the running instance, to the tables of this code. */
export async function migrateOnly(): Promise<number> {
  const config = readSettings(process.env)
  const data = dataFolder(config.TIDINGS_DATA_DIR)
  const url = config.TIDINGS_MYSQL_URL ?? ownMysql(data)
  if (!url)
    throw new Failure(
      'There is no database to migrate: set TIDINGS_MYSQL_URL, or run npm start, which migrates its own.',
    )
  const applied = await migrateOrExplain(url)
  console.log(applied.length > 0 ? `migrated: ${applied.join(', ')}` : 'nothing to migrate')
  return 0
}

async function migrateOrExplain(url: string): Promise<string[]> {
  try {
    return (await migrate(url)).applied
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new Failure(`The database could not be migrated: ${reasonOf(error)}`, { cause: error })
  }
}

function ownMysql(data: DataFolder): string | undefined {
  const child = stillRunning(readState(data).children).find(({ name }) => name === 'mysql')
  return child && `mysql://tidings:${encodeURIComponent(secretsOf(data).mysql)}@127.0.0.1:${child.ports.client}/tidings`
}
