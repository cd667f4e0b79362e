/** The three stores, for tests: each in a folder of its own, on free ports, gone with the process that started it. */
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canReach, storeAccount } from './account.js'
import { checkout } from './checkout.js'
import { etcd } from './etcd.js'
import { Failure } from './failure.js'
import { mysql } from './mysql.js'
import { findBinaries } from './packages.js'
import { PortPicker } from './ports.js'
import type { Programs, StoreName } from './programs.js'
import { redis } from './redis.js'
import { type Place, type RunningStore, startStore } from './store.js'

/** Where and with what a test's store is started. */
export interface StartOptions {
  /** Folder of the store, which stays; by default a fresh one below the temp folder, which stop() removes. */
  dir?: string
  /** The programs, when they have been looked for already. */
  programs?: Programs
  /** Fixed port instead of a free one. */
  port?: number
  /** As durable as those of `npm start`; by default durability is given up for speed. */
  durable?: boolean
}

const silent = (): void => undefined

/** Starts a Redis of one's own. */
export async function startRedis(options: StartOptions = {}): Promise<RunningStore> {
  const { place, remove } = await placeOf('redis', options)
  const picker = new PortPicker()
  return startStore(async () => redis(place, options.port ?? (await picker.any())), remove)
}

/** Starts a MariaDB of one's own, with a user that may make databases. */
export async function startMysql(options: StartOptions = {}): Promise<RunningStore> {
  const { place, remove } = await placeOf('mysql', options)
  const picker = new PortPicker()
  const password = randomBytes(12).toString('hex')
  return startStore(
    async () => mysql(place, options.port ?? (await picker.any()), { password, everything: true }),
    remove,
  )
}

/** Starts an etcd of one's own. */
export async function startEtcd(options: StartOptions = {}): Promise<RunningStore> {
  const { place, remove } = await placeOf('etcd', options)
  const picker = new PortPicker()
  return startStore(
    async () => etcd(place, { client: options.port ?? (await picker.any()), peer: await picker.any() }),
    remove,
  )
}

/** A folder, the programs and the account for one store. */
export async function placeOf(name: StoreName, options: StartOptions): Promise<{ place: Place; remove: () => void }> {
  const programs = options.programs ?? (await findBinaries(checkout, silent, [name]))
  const account = storeAccount()
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), `tidings-${name}-`))
  mkdirSync(dir, { recursive: true })
  if (account && !canReach(account, dir)) chmodSync(dir, 0o755)
  if (account && !canReach(account, dir))
    throw new Failure(`The account ${account.name} cannot reach ${dir}: give another folder.`)
  const remove = (): void => {
    if (options.dir === undefined) rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
  }
  return {
    place: { programs, folder: join(dir, name), log: join(dir, `${name}.log`), account, fast: !options.durable },
    remove,
  }
}

/** Three stores that belong together. */
export interface TestStores {
  redis: RunningStore
  mysql: RunningStore
  etcd: RunningStore
  /** What a test or an app needs in its environment. */
  env: { TIDINGS_REDIS_URL: string; TIDINGS_MYSQL_URL: string; TIDINGS_ETCD_URL: string }
  /** Ends all three and removes their data. May be called twice. */
  stop(): Promise<void>
}

/** Starts all three, empty, below a folder that is removed at the end. */
export async function startStores(folder: string, say: (line: string) => void): Promise<TestStores> {
  const programs = await findBinaries(checkout, say)
  const account = storeAccount()
  mkdirSync(folder, { recursive: true })
  // Throwaway data: where the stores' account cannot reach the checkout, the temp folder will do.
  const dir = account && !canReach(account, folder) ? mkdtempSync(join(tmpdir(), 'tidings-test-')) : folder
  const remove = (): void => {
    for (const each of new Set([folder, dir])) rmSync(each, { recursive: true, force: true, maxRetries: 3 })
  }
  say('starting Redis, MariaDB and etcd')
  const started = await Promise.allSettled([
    startRedis({ dir, programs }),
    startMysql({ dir, programs }),
    startEtcd({ dir, programs }),
  ])
  const running = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const stop = async (): Promise<void> => {
    await Promise.all(running.map((store) => store.stop()))
    remove()
  }
  const failed = started.find((each) => each.status === 'rejected')
  if (failed) {
    await Promise.all(running.map((store) => store.stop()))
    throw failed.reason
  }
  const [redisStore, mysqlStore, etcdStore] = running as [RunningStore, RunningStore, RunningStore]
  const env = { TIDINGS_REDIS_URL: redisStore.url, TIDINGS_MYSQL_URL: mysqlStore.url, TIDINGS_ETCD_URL: etcdStore.url }
  return { redis: redisStore, mysql: mysqlStore, etcd: etcdStore, env, stop }
}
