/** Puts a logic process together, and takes it apart in order. */
import { randomUUID } from 'node:crypto'
import { logicRpc, rpcToken, serve, startRpcServer } from '@tidings/protocol'
import {
  claimWorkerId,
  connectRegistry,
  createConnectNodes,
  createIds,
  createLiveDevices,
  createRoomNotices,
} from '@tidings/registry'
import { ConfigError, Lifecycle, type Logger, type MetricsRegistry, startOps, type Tracing } from '@tidings/service'
import { connectStore, fixPartitions, isAway, type Store } from '@tidings/store'
import {
  checkRedis,
  connectRedis,
  createAppender,
  createEphemeralPublisher,
  createKeys,
  createLogReader,
  createStreamMetrics,
  watchRevocations,
} from '@tidings/stream'
import { createBroadcasts } from './broadcasts.js'
import type { LogicConfig } from './config.js'
import { createDevices } from './devices.js'
import { startFileSweeper } from './files/sweeper.js'
import { startForgetting } from './forget.js'
import { startGenerations } from './generations.js'
import { createKeptUsers } from './kept-users.js'
import { createListingCursors } from './listing-cursor.js'
import { createLiveSessions } from './live-sessions.js'
import { createLooks } from './message-state.js'
import { createGenerationMetrics, createLogicMetrics } from './metrics.js'
import { createOutbox } from './outbox.js'
import { createPasswords } from './passwords.js'
import { createReceipts } from './receipts.js'
import { startRevocations } from './revocations.js'
import { createRoomSearches } from './rooms/rooms.js'
import { startRoomSweeper } from './rooms/sweeper.js'
import { createTurns } from './rooms/turns.js'
import { createRouted } from './routed.js'
import { createSearches } from './search.js'
import { createLogicService } from './server.js'
import { startWriteBehind } from './write-behind.js'

export const VERSION = '0.1.0'

export interface LogicApp {
  /** host:port, as listed in etcd. */
  rpcAddress: string
  opsPort: number
  /** Unlists, ends the calls, stores the cursors, closes the connections. */
  stop(): Promise<void>
}

/** Starts a logic process. Throws, with nothing left running, when Redis or etcd does not answer; MySQL may come later. */
export async function startLogic(
  config: LogicConfig,
  env: { log: Logger; metrics: MetricsRegistry; tracing: Tracing },
): Promise<LogicApp> {
  const { log, tracing } = env
  const life = new Lifecycle(log)
  try {
    const metrics = createLogicMetrics(env.metrics)
    const keys = createKeys(config.namespace, config.partitions)
    const store = connectStore(config.mysqlUrl, log)
    life.add('mysql', () => store.stop())
    await checkPartitions(store, config.partitions, log)
    const redis = await connectRedis(config.redisUrl, log)
    life.add('redis', () => redis.disconnect())
    await checkRedis(redis)
    const reader = createLogReader(redis, keys)

    const writeBehind = startWriteBehind({ store, log })
    life.add('cursors', () => writeBehind.stop())
    metrics.watchWriteBehind(() => writeBehind.depth)
    const generations = startGenerations({
      redis,
      keys,
      store,
      reader,
      log,
      metrics: createGenerationMetrics(env.metrics),
    })
    life.add('generations', () => generations.stop())
    const revocations = startRevocations({ redis, keys, store, accessTokenS: config.accessTokenS, log })
    life.add('revocations', () => revocations.stop())
    generations.onLost(revocations.publishAgain)
    const revocationWatch = await watchRevocations({ redis, keys, keepMs: config.accessTokenS * 1_000, log })
    life.add('revocation watch', () => revocationWatch.stop())
    const keptUsers = createKeptUsers(revocationWatch.hear)
    revocationWatch.onUsers(keptUsers.forget)
    revocationWatch.onSends((_, blocker) => keptUsers.forget([blocker]))
    generations.onLost(() => devices.compareAgain())
    const forgetting = startForgetting(store, log)
    life.add('forgetting', () => forgetting.stop())
    const broadcasts = createBroadcasts({ store, reader })
    const devices = createDevices({ redis, keys, store, broadcasts, writeBehind, most: config.devicesPerUser, log })
    const bus = createEphemeralPublisher({ redis, keys, dropped: metrics.dropped, log })
    life.add('events', () => bus.stop())
    const receipts = createReceipts({ redis, keys, publish: bus.publish, log })

    const registry = await connectRegistry({
      urls: config.etcdUrls,
      namespace: config.namespace,
      leaseSeconds: config.nodeLeaseS,
      log,
    })
    life.add('registry', () => registry.stop())
    let notifyServed = false
    await registry.watchNodes('task', (workers) => {
      notifyServed = [...workers.values()].some(({ groups }) => groups?.includes('notify'))
    })
    const worker = await claimWorkerId(registry, config.instance, log)
    life.add('worker id', () => worker.stop())
    const nodes = createConnectNodes(rpcToken(config.jwtSecret))
    life.add('connect nodes', () => nodes.stop())
    await registry.watchNodes('connect', nodes.set)
    const notices = createRoomNotices(registry, log)
    life.add('room notices', () => notices.stop())
    const outbox = createOutbox({
      ...{ redis, keys, store, reader, notices, log },
      appender: createAppender({
        ...{ redis, keys, replicas: 0, metrics: createStreamMetrics(env.metrics) },
        generations: { ...generations, restoreMembers: generations.restoreEndedToo },
      }),
      nextId: createIds(worker),
      restoreMembers: generations.restoreEndedToo,
    })
    const sweeper = startRoomSweeper({ store, redis, keys, outbox, log })
    life.add('rooms', () => sweeper.stop())
    metrics.watchOutbox(() => sweeper.waiting)
    const fileSweeper = startFileSweeper({ store, reader, log, orphanMs: config.fileOrphanS * 1_000 })
    life.add('files', () => fileSweeper.stop())
    const deps = {
      redis,
      keys,
      store,
      reader,
      devices,
      broadcasts,
      writeBehind,
      receipts,
      liveDevices: createLiveDevices(registry),
      live: createLiveSessions({ registry, nodes }),
      routed: createRouted(nodes, log),
      generations,
      outbox,
      turns: createTurns(),
      roomSearches: createRoomSearches(),
      revocations,
      keptUsers,
      listingCursors: createListingCursors(config.jwtSecret),
      log,
      passwords: await createPasswords(),
      search: createSearches(config.search),
      looks: createLooks(),
      hooks: { ...config.hooks, served: () => notifyServed },
      registration: config.registration,
      refreshTokenS: config.refreshTokenS,
      fileQuotaBytes: config.fileQuotaBytes,
      editWindowS: config.editWindowS,
      recallWindowS: config.recallWindowS,
    }
    const rpc = await startRpcServer({
      ...config.rpc,
      token: rpcToken(config.jwtSecret),
      services: [serve(logicRpc.LogicDefinition, createLogicService(deps, metrics, tracing))],
      onInternalError: (path, err) => log.error({ err, path }, 'a call failed'),
    })
    life.add('rpc server', () => rpc.stop())

    await registry.announce('logic', config.instance, { address: rpc.address, version: VERSION, bootId: randomUUID() })
    // Last: ready means that calls are answered.
    const ops = await startOps({
      ...config.ops,
      metrics: env.metrics,
      ready: { redis: () => redis.ping(), mysql: () => store.ping(), etcd: () => registry.check() },
    })
    life.add('ops', () => ops.stop())
    // First to stop: nobody new calls, while the calls that run may end.
    life.add('listing', () => registry.withdraw())
    log.info({ rpc: rpc.address, opsPort: ops.port }, 'logic is ready')
    return { rpcAddress: rpc.address, opsPort: ops.port, stop: () => life.stop() }
  } catch (error) {
    await life.stop()
    throw error
  }
}

/** Conversations lie in partitions by a hash: with another number of them nothing would be found. */
async function checkPartitions(store: Store, partitions: number, log: Logger): Promise<void> {
  let fixed: number
  try {
    fixed = await fixPartitions(store, partitions)
  } catch (error) {
    if (!isAway(error)) throw error
    log.warn('mysql is away; the number of partitions was not compared')
    return
  }
  if (fixed !== partitions) {
    throw new ConfigError(
      `TIDINGS_PARTITIONS="${partitions}" cannot be used: this data set was made with ${fixed}. Give that.`,
    )
  }
}
