/** A whole Tidings in one process, on real stores, with names and data of its own. */

import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readConfig as readApi, startApi } from '@tidings/api'
import { type ConnectApp, readConfig as readConnect, startConnect } from '@tidings/connect'
import { readConfig as readLogic, startLogic } from '@tidings/logic'
import { migrate } from '@tidings/migrations'
import { createLogger, createMetrics, Lifecycle, type Logger, noTracing, type Tracing } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectStore, type Store } from '@tidings/store'
import { connectRedis, createKeys, type Keys, type Redis } from '@tidings/stream'
import { readConfig as readTask, startTask, type TaskApp } from '@tidings/task'
import { createConnection } from 'mysql2/promise'
import type { Test } from 'tap'
import { TestClient } from './client.js'
import { type AppProcess, startProcess } from './processes.js'
import { mintToken } from './tokens.js'

export type Env = Record<string, string>
type AppName = 'api' | 'logic' | 'task' | 'connect'

export interface Stores {
  redisUrl: string
  mysqlUrl: string
  etcdUrl: string
}

export interface WorldOptions {
  /** Settings on top of the defaults of the tests. */
  env?: Env
  /** How many of each app are started; one by default. */
  count?: Partial<Record<AppName, number>>
  /** Each app as a process of its own, to be killed; `processes` of the world holds them. */
  processes?: boolean
  /** Stores to use instead of those of the test run, for tests that kill them. */
  stores?: Partial<Stores>
  tracing?: Tracing
  log?: Logger
}

export interface Reply<T = Record<string, unknown>> {
  status: number
  headers: Headers
  body: T
  text: string
}

/** The apps of a world, and what a test needs to use and to look at them. */
export interface World {
  namespace: string
  env: Env
  redis: Redis
  keys: Keys
  store: Store
  connects: Pick<ConnectApp, 'url' | 'transport'>[]
  /** By instance, where the apps are processes. */
  processes: Map<string, AppProcess>
  tasks: TaskApp[]
  /** Base URLs of the api processes. */
  apis: string[]
  /** Ops ports by app instance. */
  ops: Map<string, number>
  /** @param over settings for this process alone */
  start(app: AppName, over?: Env): Promise<Stop>
  /** Stops one process of an app, in order, as SIGTERM does. */
  stop(app: AppName, index?: number): Promise<void>
  http<T = Record<string, unknown>>(method: string, path: string, options?: HttpOptions): Promise<Reply<T>>
  /** A registered user with a token. */
  user(name?: string): Promise<TestUser>
  token(user: string, over?: Record<string, unknown>): string
}

export type Stop = () => Promise<void>

export interface HttpOptions {
  token?: string
  /** An object is written as JSON; a string goes as it is. */
  body?: unknown
  headers?: Record<string, string>
  /** Which api process. */
  api?: number
}

export interface TestUser {
  name: string
  token: string
  refreshToken: string
  /** Sends a direct message over HTTP and expects a 202. */
  send(to: TestUser | string, content?: unknown, over?: Record<string, unknown>): Promise<Sent>
  /** A WebSocket that is through its backlog. */
  connect(options?: { device?: string; node?: number; query?: string }): Promise<TestClient>
}

export interface Sent {
  id: string
  conversation: string
  seq: number
  sentAt: number
  duplicate: boolean
}

/** The stores of this test run. */
export const testStores = (): Stores => ({
  redisUrl: given('TIDINGS_REDIS_URL'),
  mysqlUrl: given('TIDINGS_MYSQL_URL'),
  etcdUrl: given('TIDINGS_ETCD_URL'),
})

/** Starts a world and registers its end with the test. */
export async function world(t: Test, options: WorldOptions = {}): Promise<World> {
  const log = options.log ?? createLogger({ app: 'world', instance: 'test', level: process.env.TEST_LOG ?? 'silent' })
  const life = new Lifecycle(log)
  t.teardown(() => life.stop())
  const stores = { ...testStores(), ...options.stores }
  const id = randomBytes(6).toString('hex')
  const namespace = `w${id}`
  const database = new URL(stores.mysqlUrl)
  database.pathname = `/${namespace}`
  const mysqlUrl = database.toString()
  await migrate(mysqlUrl)
  life.add('database', () => dropDatabase(stores.mysqlUrl, namespace), 10_000)

  const env: Env = {
    TIDINGS_NAMESPACE: namespace,
    TIDINGS_REDIS_URL: stores.redisUrl,
    TIDINGS_MYSQL_URL: mysqlUrl,
    TIDINGS_ETCD_URL: stores.etcdUrl,
    TIDINGS_JWT_SECRET: randomBytes(32).toString('hex'),
    TIDINGS_API_PORT: '0',
    TIDINGS_CONNECT_PORT: '0',
    TIDINGS_RATE_LIMITS: 'off',
    TIDINGS_PARTITIONS: '4',
    TIDINGS_LOG_LEVEL: 'silent',
    TIDINGS_FILES_DIR: join(tmpdir(), `tidings-${namespace}`),
    ...options.env,
  }
  life.add('uploads', () => rm(env.TIDINGS_FILES_DIR!, { recursive: true, force: true }))
  const redis = await connectRedis(stores.redisUrl, log)
  life.add('redis', () => redis.disconnect())
  const keys = createKeys(namespace, Number(env.TIDINGS_PARTITIONS))
  // A Redis of the test's own goes with all it holds.
  if (!options.stores?.redisUrl) life.add('keys', () => deleteKeys(redis, namespace))
  const store = connectStore(mysqlUrl, log)
  life.add('store', () => store.stop())

  const tracing = options.tracing ?? noTracing
  const made: Record<AppName, number> = { api: 0, logic: 0, task: 0, connect: 0 }
  const running: Record<AppName, Stop[]> = { api: [], logic: [], task: [], connect: [] }
  const apis: string[] = []
  const connects: World['connects'] = []
  const processes = new Map<string, AppProcess>()
  const tasks: TaskApp[] = []
  const ops = new Map<string, number>()

  async function start(app: AppName, over: Env = {}): Promise<Stop> {
    const instance = `${app}-${++made[app]}`
    const own: Env = { ...env, TIDINGS_INSTANCE: instance, ...over }
    const parts = { log: log.child({ instance }), metrics: createMetrics(app, instance), tracing }
    const stop = await startOne(app, own, parts, instance)
    running[app].push(stop)
    life.add(instance, stop, 6_000)
    return stop
  }

  async function startOne(
    app: AppName,
    own: Env,
    parts: { log: Logger; metrics: ReturnType<typeof createMetrics>; tracing: Tracing },
    instance: string,
  ): Promise<Stop> {
    if (options.processes) {
      const started = await startProcess(app, instance, own)
      processes.set(instance, started)
      ops.set(instance, started.opsPort)
      if (app === 'api') apis.push(`http://127.0.0.1:${started.port}`)
      if (app === 'connect') connects.push({ url: `ws://127.0.0.1:${started.port}/api/v1/ws`, transport: 'uws' })
      return async () => {
        await started.stop()
      }
    }
    if (app === 'logic') {
      const started = await startLogic(readLogic(own), parts)
      ops.set(instance, started.opsPort)
      return () => started.stop()
    }
    if (app === 'task') {
      const started = await startTask(readTask(own), parts)
      tasks.push(started)
      ops.set(instance, started.opsPort)
      return () => started.stop()
    }
    if (app === 'connect') {
      const started = await startConnect(readConnect(own), parts)
      connects.push(started)
      ops.set(instance, started.opsPort)
      return () => started.stop()
    }
    const started = await startApi(readApi(own), parts)
    apis.push(started.url)
    ops.set(instance, started.opsPort)
    return () => started.stop()
  }

  for (const app of ['logic', 'task', 'connect', 'api'] as const) {
    for (let i = 0; i < (options.count?.[app] ?? 1); i++) await start(app)
  }

  async function http<T>(
    method: string,
    path: string,
    { token, body, headers, api = 0 }: HttpOptions = {},
  ): Promise<Reply<T>> {
    const response = await fetch(`${apis[api]}${path.startsWith('/') ? path : `/api/v1/${path}`}`, {
      method,
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = /\bjson\b/.test(response.headers.get('content-type') ?? '')
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: (isJson && text !== '' ? JSON.parse(text) : {}) as T,
    }
  }

  const token = (user: string, over: Record<string, unknown> = {}): string =>
    mintToken(env.TIDINGS_JWT_SECRET!, user, over)

  async function user(name = `u${randomBytes(4).toString('hex')}`): Promise<TestUser> {
    const password = `password of ${name}`
    const call = (path: string, body: object) =>
      http<{ accessToken: string; refreshToken: string }>('POST', `auth/${path}`, { body })
    let reply = await call('register', { username: name, password })
    // Hashing passwords is the first thing that a busy machine puts off; what was not answered may have been done.
    for (let attempt = 0; reply.status === 503 && attempt < 5; attempt++) {
      reply = await call('register', { username: name, password })
      if (reply.status === 409) reply = await call('login', { username: name, password })
    }
    if (!reply.body.accessToken) throw new Error(`registering ${name}: ${reply.status} ${reply.text}`)
    const { accessToken, refreshToken } = reply.body
    return {
      name,
      token: accessToken,
      refreshToken,
      async send(to, content = { text: 'hello' }, over = {}) {
        const body = { to: { user: typeof to === 'string' ? to : to.name }, content, ...over }
        const sent = await http<Sent>('POST', 'messages', { token: accessToken, body })
        if (sent.status !== 202) throw new Error(`sending: ${sent.status} ${sent.text}`)
        return sent.body
      },
      async connect({ device = 'default', node = 0, query = '' } = {}) {
        const client = await TestClient.open(`${connects[node]!.url}?device=${device}${query}`, { token: accessToken })
        t.teardown(() => client.ws.terminate())
        return await client.synced()
      },
    }
  }

  return {
    namespace,
    env,
    redis,
    keys,
    store,
    connects,
    processes,
    tasks,
    apis,
    ops,
    start,
    http,
    user,
    token,
    async stop(app, index = 0) {
      await running[app][index]!()
    },
  }
}

async function dropDatabase(url: string, name: string): Promise<void> {
  const connection = await createConnection({ uri: url })
  try {
    await connection.query(`DROP DATABASE IF EXISTS \`${name}\``)
  } finally {
    await connection.end()
  }
}

async function deleteKeys(redis: Redis, namespace: string): Promise<void> {
  const names = await redis.keys(`${namespace}:*`)
  if (names.length > 0) await redis.del(names)
}
