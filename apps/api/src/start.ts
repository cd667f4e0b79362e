/** Puts an api process together, and takes it apart in order. */
import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { type Edge, LIMITS_KEY, startEdge, watchLimits } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import { liveConfig } from '@tidings/registry'
import { Lifecycle, type Logger, type MetricsRegistry, startOps, type Tracing } from '@tidings/service'
import { createCluster } from './admin/cluster.js'
import { createDeadLetters } from './admin/dead.js'
import { createNonces } from './admin/nonces.js'
import { createWordListStore } from './admin/word-list.js'
import type { Api } from './api.js'
import { buildApp } from './app.js'
import type { ApiConfig } from './config.js'
import { VERSION } from './docs.js'
import { watchEventLoop } from './event-loop.js'
import { createExports } from './exports.js'
import { diskBlobs } from './files/disk.js'
import { startFileSweep } from './files/sweep.js'
import { createPersisted } from './persisted.js'
import { createRates, noRates, type Rates } from './rates.js'

/** How long requests that run may go on when the process stops. */
const DRAIN_MS = 2_000
const IDLE_SWEEP_MS = 50

export interface ApiApp {
  /** Without a path: http://host:port */
  url: string
  port: number
  opsPort: number
  stop(): Promise<void>
}

/** Starts an api process. Throws, with nothing left running, when something it needs does not answer. */
export async function startApi(
  config: ApiConfig,
  env: { log: Logger; metrics: MetricsRegistry; tracing: Tracing },
): Promise<ApiApp> {
  const { log, metrics, tracing } = env
  const life = new Lifecycle(log)
  let draining = false
  try {
    const edge = await startEdge(config.edge, env)
    life.add('edge', () => edge.stop())
    life.add('accepted sends', () => edge.idle())
    const { redis, keys, registry, logic, tokens, tickets, acceptor, pushes, flagged, seenUsers } = edge
    const { jwtSecret, accessTokenS, instance } = config.edge
    const { origins, trustProxy, adminKeys, adminAddresses, vapidPublicKey } = config

    const rates = await startRates(config, edge, log, life)
    const persisted = createPersisted({ redis, keys, log })
    life.add('waits', () => persisted.stop())
    const eventLoop = watchEventLoop()
    life.add('event loop', () => eventLoop.stop())
    const { folder, orphanMs, ...fileSettings } = config.files
    const blobs = diskBlobs(folder)
    const app = buildApp({
      settings: { jwtSecret, accessTokenS, origins, trustProxy, adminKeys, adminAddresses, vapidPublicKey },
      logic: logic.client,
      tokens,
      seenUsers,
      rates,
      tickets,
      acceptor,
      pushes,
      persisted,
      nonces: createNonces(redis, keys),
      cluster: createCluster({ registry, redis, keys }),
      words: createWordListStore(registry),
      flagged,
      exports: createExports(redis, keys),
      letters: createDeadLetters(redis, keys),
      limitsInEtcd: liveConfig(registry, LIMITS_KEY),
      eventLoop,
      files: { ...fileSettings, blobs },
      isRevoked: edge.revocations.has,
      log,
      metrics,
      tracing,
    })
    const fileSweep = startFileSweep({ logic: logic.client, blobs, log, orphanMs })
    life.add('file sweep', () => fileSweep.stop())
    life.add('http', () => finish(app), DRAIN_MS + 500)
    await app.listen({ host: config.host, port: config.port })
    const { port } = app.server.address() as AddressInfo
    const host = config.host.includes(':') ? `[${config.host}]` : config.host

    await registry.announce('api', instance, { address: `${host}:${port}`, version: VERSION, bootId: randomUUID() })
    // Last: ready means that requests are answered.
    const ops = await startOps({
      ...config.ops,
      metrics,
      ready: {
        redis: () => redis.ping(),
        etcd: () => registry.check(),
        logic: () => logic.check(),
        listening: async () => {
          if (draining) throw new AppError('unavailable', 'draining')
        },
      },
    })
    life.add('ops', () => ops.stop())
    /** Unlisted first, so that nobody new is sent here. */
    life.add('listing', async () => {
      draining = true
      await registry.withdraw()
    })

    const url = `http://${host}:${port}`
    log.info({ url, docs: `${url}/docs`, ops: ops.port }, 'api is ready')
    return { url, port, opsPort: ops.port, stop: () => life.stop() }
  } catch (error) {
    await life.stop()
    throw error
  }
}

/** The rates of the settings, and over them what operators set. */
async function startRates(config: ApiConfig, edge: Edge, log: Logger, life: Lifecycle): Promise<Rates> {
  const given = config.rates
  if (!given) return noRates
  const rates = createRates(edge.redis, edge.keys, given)
  const watched = await watchLimits(
    edge.registry,
    (live) => {
      const over = Object.entries(live).filter(([name]) => Object.hasOwn(given, name))
      rates.set({ ...given, ...Object.fromEntries(over) })
    },
    log,
  )
  life.add('limits', () => watched.stop())
  return rates
}

/** Takes no new connection, closes those that rest as soon as they do, and cuts what still runs in the end. */
async function finish(app: Api): Promise<void> {
  const sweep = setInterval(() => app.server.closeIdleConnections(), IDLE_SWEEP_MS)
  const cut = setTimeout(() => app.server.closeAllConnections(), DRAIN_MS)
  try {
    await app.close()
  } finally {
    clearInterval(sweep)
    clearTimeout(cut)
  }
}
