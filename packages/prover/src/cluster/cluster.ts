/** A whole Tidings as processes, on stores of its own, with a proxy on every link that a fault may harm. */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { mintToken, PortPicker, type RunningStore, startEtcd, startMysql } from '@tidings/infra'
import { migrate } from '@tidings/migrations'
import { serviceSender } from '@tidings/protocol'
import { createKeys, type Keys } from '@tidings/stream'
import { moduleUrl, type Rewrite } from '../rewrite/rewrite.js'
import { type AppName, type AppProcess, startApp } from './app.js'
import { type Disk, mountDisk } from './disk.js'
import { type Etcd, openEtcd } from './etcd.js'
import { type Issuer, startIssuer } from './issuer.js'
import { queryMysql, type Row } from './mysql.js'
import { type LinkProxy, startProxy } from './proxy.js'
import {
  type OwnRedis,
  openRedis,
  REDIS_KINDS,
  type Redis,
  type RedisKind,
  type Replicated,
  type Sharded,
  withSentinels,
} from './redis.js'

export type StoreName = 'redis' | 'mysql' | 'etcd'
/** Beside the usual parts. A disk of its own takes the right to mount one. */
export type Need = 'disk for redis' | 'disk for mysql' | 'identity provider'
const STORE_NAMES: readonly StoreName[] = ['redis', 'mysql', 'etcd']
const TOKEN_SECONDS = 86_400
const SERVICE = 'prover'

export interface ClusterOptions {
  count: Record<AppName, number>
  /** Folder for the logs. The stores keep their data elsewhere, and it goes with them. */
  folder: string
  /** How Redis is set up: one server, unless said. */
  redis?: RedisKind
  needs?: readonly Need[]
  /** Settings on top of the defaults. */
  env?: Record<string, string>
  rewrites?: Partial<Record<AppName, readonly Rewrite[]>>
  say?(line: string): void
}

export interface Cluster {
  readonly folder: string
  readonly namespace: string
  readonly partitions: number
  readonly keys: Keys
  readonly apps: ReadonlyMap<string, AppProcess>
  readonly stores: Record<StoreName, RunningStore>
  /** Base URLs for clients, through their proxies. */
  readonly apis: readonly string[]
  readonly nodes: readonly string[]
  /** To Redis itself, past the proxies. */
  readonly redis: Redis
  readonly replicated: Replicated | undefined
  readonly sharded: Sharded | undefined
  readonly etcd: Etcd
  readonly disks: Disks
  readonly issuer: Issuer | undefined
  /** Of the operator, who may do everything; the apps have a user of their own. */
  readonly mysqlUrl: string
  sql(statement: string, values?: unknown[]): Promise<Row[]>
  of(app: AppName): AppProcess[]
  /** The link of an instance to a store, to its clients, or (a connect node) to the workers. */
  link(instance: string, to: StoreName | 'clients' | 'workers'): LinkProxy
  links(app: AppName, to: StoreName | 'clients' | 'workers'): LinkProxy[]
  /** The links of an instance to the sentinels, where there are some. */
  sentinelLinks(instance: string): LinkProxy[]
  token(user: string): string
  /** A server that may push. */
  readonly service: { token: string; from: string }
  /** Heals every link. */
  healLinks(): void
  stop(): Promise<void>
}

/** @throws when something does not start; nothing is left running then */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { count, folder, say = () => undefined } = options
  const stops: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    for (let one = stops.pop(); one; one = stops.pop()) await one()
  }
  try {
    mkdirSync(folder, { recursive: true })
    say('starting Redis, MariaDB and etcd')
    const disks = mountDisks(options.needs ?? [], stops)
    const { own, stores } = await startOwnStores(options.redis ?? 'one', disks, stops)
    const issuer = options.needs?.includes('identity provider') ? await startIssuer() : undefined
    if (issuer) stops.push(() => issuer.close())
    const namespace = `p${randomBytes(4).toString('hex')}`
    const secret = randomBytes(32).toString('hex')
    const serviceToken = randomBytes(16).toString('hex')
    const { mysqlUrl, appUrl } = await makeDatabase(stores.mysql.url, namespace)
    const redis = await openRedis(own.url)
    stops.push(async () => redis.disconnect())

    const env: Record<string, string> = {
      TIDINGS_NAMESPACE: namespace,
      TIDINGS_JWT_SECRET: secret,
      TIDINGS_RATE_LIMITS: 'off',
      TIDINGS_SERVICE_TOKENS: `${SERVICE}:push:${serviceToken}`,
      TIDINGS_PARTITIONS: '4',
      TIDINGS_LOG_LEVEL: 'info',
      // With an outside provider nobody could register otherwise.
      ...(issuer && { TIDINGS_JWKS_URL: issuer.url, TIDINGS_REGISTRATION: 'open' }),
      ...options.env,
    }
    const partitions = Number(env.TIDINGS_PARTITIONS)
    const picker = new PortPicker()
    const links = new Map<string, LinkProxy>()
    const apps = new Map<string, AppProcess>()
    const proxied = async (name: string, port: number): Promise<LinkProxy> => {
      const proxy = await startProxy(port)
      stops.push(() => proxy.close())
      links.set(name, proxy)
      return proxy
    }

    async function start(app: AppName, n: number): Promise<void> {
      const instance = `${app}-${n}`
      const [port, opsPort, rpcPort] = [await picker.any(), await picker.any(), await picker.any()]
      const targets = { redis: stores.redis.port, mysql: stores.mysql.port, etcd: stores.etcd.port }
      const through: Partial<Record<StoreName, number>> = {}
      for (const store of STORE_NAMES) through[store] = (await proxied(`${instance} ${store}`, targets[store])).port
      const sentinels: number[] = []
      for (const [i, sentinel] of (own.replicated?.sentinels ?? []).entries())
        sentinels.push((await proxied(`${instance} sentinel ${i}`, sentinel.port)).port)
      const urls = {
        // Sentinels and a cluster name their servers themselves: nothing can stand before those.
        TIDINGS_REDIS_URL: own.replicated
          ? withSentinels(own.url, sentinels)
          : own.sharded
            ? own.url
            : withPort(own.url, through.redis!),
        TIDINGS_ETCD_URL: withPort(stores.etcd.url, through.etcd!).replace(/\/$/, ''),
        ...((app === 'logic' || app === 'task') && { TIDINGS_MYSQL_URL: withPort(appUrl, through.mysql!) }),
      }
      const rewrites = [...(options.rewrites?.[app] ?? [])]
      if (app === 'api' || app === 'connect') await proxied(`${instance} clients`, port)
      if (app === 'connect') rewrites.push(announceAt((await proxied(`${instance} workers`, rpcPort)).port))
      const started = await startApp({
        app,
        instance,
        port,
        opsPort,
        rpcPort,
        env: { ...env, ...urls },
        log: join(folder, `${instance}.log`),
        rewrites,
      })
      stops.push(() => started.stop())
      apps.set(instance, started)
    }

    say('starting the apps')
    for (const app of ['logic', 'task', 'connect', 'api'] as const)
      await Promise.all(Array.from({ length: count[app] }, (_, i) => start(app, i + 1)))

    const linkOf = (instance: string, to: string): LinkProxy => {
      const proxy = links.get(`${instance} ${to}`)
      if (!proxy) throw new Error(`there is no link ${instance} ${to}`)
      return proxy
    }
    const of = (app: AppName): AppProcess[] =>
      [...apps.values()].filter((one) => one.app === app).sort((a, b) => (a.instance < b.instance ? -1 : 1))
    return {
      folder,
      namespace,
      partitions,
      keys: createKeys(namespace, partitions),
      apps,
      stores,
      apis: of('api').map(({ instance }) => `http://127.0.0.1:${linkOf(instance, 'clients').port}`),
      nodes: of('connect').map(({ instance }) => `ws://127.0.0.1:${linkOf(instance, 'clients').port}`),
      redis,
      replicated: own.replicated,
      sharded: own.sharded,
      etcd: openEtcd(stores.etcd.url),
      disks,
      issuer,
      mysqlUrl,
      sql: (statement, values) => queryMysql(mysqlUrl, statement, values),
      of,
      link: linkOf,
      links: (app, to) => of(app).map(({ instance }) => linkOf(instance, to)),
      sentinelLinks: (instance) => (own.replicated?.sentinels ?? []).map((_, i) => linkOf(instance, `sentinel ${i}`)),
      token: (user) => mintToken(secret, user, TOKEN_SECONDS),
      service: { token: serviceToken, from: serviceSender(SERVICE) },
      healLinks() {
        for (const proxy of links.values()) proxy.heal()
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

type Disks = { redis?: Disk; mysql?: Disk }

function mountDisks(needs: readonly Need[], stops: (() => Promise<unknown>)[]): Disks {
  const disks: Disks = {}
  for (const store of ['redis', 'mysql'] as const) {
    if (!needs.includes(`disk for ${store}`)) continue
    const disk = mountDisk(store)
    disks[store] = disk
    stops.push(async () => disk.remove())
  }
  return disks
}

async function startOwnStores(
  kind: RedisKind,
  disks: Disks,
  stops: (() => Promise<unknown>)[],
): Promise<{ own: OwnRedis; stores: Record<StoreName, RunningStore> }> {
  const startRedis = REDIS_KINDS[kind]
  if (!startRedis) throw new Error(`a Redis of the kind ${kind} cannot be started here`)
  const started = await Promise.allSettled([
    startRedis(disks.redis?.dir),
    startMysql(disks.mysql ? { dir: disks.mysql.dir } : {}),
    startEtcd(),
  ])
  for (const one of started) if (one.status === 'fulfilled') stops.push(() => one.value.stop())
  const [own, mysql, etcd] = started.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  }) as [OwnRedis, RunningStore, RunningStore]
  return { own, stores: { redis: own.store, mysql, etcd } }
}

/** The apps' user has no rights beyond its database: a read-only server holds it back, and a full one does not keep a place for it. */
async function makeDatabase(url: string, name: string): Promise<{ mysqlUrl: string; appUrl: string }> {
  const mysqlUrl = new URL(url)
  mysqlUrl.pathname = `/${name}`
  await migrate(mysqlUrl.href)
  const password = randomBytes(12).toString('hex')
  await queryMysql(mysqlUrl.href, `CREATE USER '${name}'@'127.0.0.1' IDENTIFIED BY '${password}'`)
  await queryMysql(mysqlUrl.href, `GRANT SELECT, INSERT, UPDATE, DELETE ON \`${name}\`.* TO '${name}'@'127.0.0.1'`)
  const appUrl = new URL(mysqlUrl.href)
  appUrl.username = name
  appUrl.password = password
  return { mysqlUrl: mysqlUrl.href, appUrl: appUrl.href }
}

function withPort(url: string, port: number): string {
  const changed = new URL(url)
  changed.port = String(port)
  return changed.href
}

/** A node lists the address that workers connect to: the proxy's, not its own. */
const announceAt = (port: number): Rewrite => ({
  module: moduleUrl('apps/connect/dist/src/app.js'),
  find: `announce('connect', node, { address: rpc.address,`,
  replace: `announce('connect', node, { address: '127.0.0.1:${port}',`,
})
