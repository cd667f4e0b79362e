/** Everything that api and connect share: who may come in, and the way in. */
import { dmId, rpcToken } from '@tidings/protocol'
import { claimWorkerId, connectRegistry, createIds, type Registry } from '@tidings/registry'
import {
  gauge,
  Lifecycle,
  type Logger,
  type MetricsRegistry,
  requireSetting,
  type Settings,
  stageMetrics,
  type Tracing,
} from '@tidings/service'
import {
  checkRedis,
  connectRedis,
  createAppender,
  createKeys,
  createStreamMetrics,
  type Keys,
  type Redis,
  type RevocationWatch,
  watchPressure,
  watchRevocations,
} from '@tidings/stream'
import { type Acceptor, createAcceptor } from './accept.js'
import { createConversationIndex } from './conversation-index.js'
import { createKnownUsers } from './known-users.js'
import { connectLogic, type Logic } from './logic.js'
import { createPermits } from './permits.js'
import { createPreSendMetrics } from './pre-send/metrics.js'
import { createPreSend, type PreSendConfig } from './pre-send/pre-send.js'
import { createPushAcceptor, type PushAcceptor } from './push.js'
import { createScreen } from './screen.js'
import { createSeenUsers, type SeenUsers } from './seen-users.js'
import { createTickets, type Tickets } from './tickets.js'
import { createTokens, type Tokens } from './tokens.js'
import { createFlagged, type Flagged } from './words/flagged.js'
import { followWords } from './words/live.js'
import { createWordMetrics } from './words/metrics.js'

/** The settings that an edge process reads. */
export const EDGE_SETTINGS = [
  'TIDINGS_REDIS_URL',
  'TIDINGS_ETCD_URL',
  'TIDINGS_NAMESPACE',
  'TIDINGS_PARTITIONS',
  'TIDINGS_INSTANCE',
  'TIDINGS_NODE_LEASE_S',
  'TIDINGS_JWT_SECRET',
  'TIDINGS_JWT_PUBLIC_KEY',
  'TIDINGS_JWKS_URL',
  'TIDINGS_JWT_ISSUER',
  'TIDINGS_JWT_AUDIENCE',
  'TIDINGS_ACCESS_TOKEN_S',
  'TIDINGS_SERVICE_TOKENS',
  'TIDINGS_ACCEPT_REPLICAS',
  'TIDINGS_MAX_BACKLOG',
  'TIDINGS_REDIS_MEMORY_MB',
  'TIDINGS_PRE_SEND_URL',
  'TIDINGS_PRE_SEND_SECRET',
  'TIDINGS_PRE_SEND_DEADLINE_MS',
  'TIDINGS_PRE_SEND_ON_FAILURE',
] as const

export interface EdgeConfig {
  redisUrl: string
  etcdUrls: readonly string[]
  namespace: string
  partitions: number
  instance: string
  nodeLeaseS: number
  jwtSecret: string
  jwtPublicKey: string | undefined
  jwksUrl: string | undefined
  jwtIssuer: string | undefined
  jwtAudience: string | undefined
  accessTokenS: number
  serviceTokens: Settings['TIDINGS_SERVICE_TOKENS']
  acceptReplicas: number
  maxBacklog: number
  redisMemoryMb: number
  /** Undefined: nobody is asked before a message is accepted. */
  preSend: PreSendConfig | undefined
}

/** @param app its name, for a default of TIDINGS_INSTANCE and for what is said when something is missing; throws ConfigError */
export function readEdgeConfig(env: Pick<Settings, (typeof EDGE_SETTINGS)[number]>, app: string): EdgeConfig {
  return {
    redisUrl: requireSetting(app, 'TIDINGS_REDIS_URL', env.TIDINGS_REDIS_URL),
    etcdUrls: requireSetting(app, 'TIDINGS_ETCD_URL', env.TIDINGS_ETCD_URL),
    namespace: env.TIDINGS_NAMESPACE,
    partitions: env.TIDINGS_PARTITIONS,
    instance: env.TIDINGS_INSTANCE ?? `${app}-${process.pid}`,
    nodeLeaseS: env.TIDINGS_NODE_LEASE_S,
    jwtSecret: requireSetting(app, 'TIDINGS_JWT_SECRET', env.TIDINGS_JWT_SECRET),
    jwtPublicKey: env.TIDINGS_JWT_PUBLIC_KEY,
    jwksUrl: env.TIDINGS_JWKS_URL,
    jwtIssuer: env.TIDINGS_JWT_ISSUER,
    jwtAudience: env.TIDINGS_JWT_AUDIENCE,
    accessTokenS: env.TIDINGS_ACCESS_TOKEN_S,
    serviceTokens: env.TIDINGS_SERVICE_TOKENS,
    acceptReplicas: env.TIDINGS_ACCEPT_REPLICAS,
    maxBacklog: env.TIDINGS_MAX_BACKLOG,
    redisMemoryMb: env.TIDINGS_REDIS_MEMORY_MB,
    preSend: readPreSend(env, app),
  }
}

function readPreSend(env: Pick<Settings, (typeof EDGE_SETTINGS)[number]>, app: string): PreSendConfig | undefined {
  if (env.TIDINGS_PRE_SEND_URL === undefined) return undefined
  return {
    url: env.TIDINGS_PRE_SEND_URL,
    secret: requireSetting(app, 'TIDINGS_PRE_SEND_SECRET', env.TIDINGS_PRE_SEND_SECRET),
    deadlineMs: env.TIDINGS_PRE_SEND_DEADLINE_MS,
    onFailure: env.TIDINGS_PRE_SEND_ON_FAILURE,
  }
}

export interface Edge {
  redis: Redis
  keys: Keys
  registry: Registry
  logic: Logic
  tokens: Tokens
  tickets: Tickets
  revocations: RevocationWatch
  acceptor: Acceptor
  /** Messages with a word that an operator wants to know of. */
  flagged: Flagged
  pushes: PushAcceptor
  /** Makes sure that the user behind an identity exists; see seen-users.ts. */
  seenUsers: SeenUsers
  /** Resolves when every accepted send has its answer. */
  idle(): Promise<void>
  stop(): Promise<void>
}

/**
 * Connects and builds the shared half of an edge process. Throws, with nothing left running, when a part does not answer.
 * @param maxKeptTokens see `createTokens`
 */
export async function startEdge(
  config: EdgeConfig,
  { log, metrics, tracing }: { log: Logger; metrics: MetricsRegistry; tracing: Tracing },
  maxKeptTokens?: number,
): Promise<Edge> {
  const life = new Lifecycle(log)
  try {
    const redis = await connectRedis(config.redisUrl, log)
    life.add('redis', () => redis.disconnect())
    await checkRedis(redis)
    const keys = createKeys(config.namespace, config.partitions)
    const pressure = await watchPressure({
      redis,
      keys,
      maxBacklog: config.maxBacklog,
      memoryBytes: config.redisMemoryMb * 1024 * 1024,
      metrics,
      log,
    })
    life.add('pressure', () => pressure.stop())
    const registry = await connectRegistry({
      urls: config.etcdUrls,
      namespace: config.namespace,
      leaseSeconds: config.nodeLeaseS,
      log,
    })
    life.add('registry', () => registry.stop())
    const logic = await connectLogic(registry, rpcToken(config.jwtSecret))
    life.add('logic client', () => logic.close())
    const worker = await claimWorkerId(registry, config.instance, log)
    life.add('worker id', () => worker.stop())
    const revocations = await watchRevocations({ redis, keys, keepMs: config.accessTokenS * 1_000, log })
    life.add('revocations', () => revocations.stop())
    const writer = config.acceptReplicas > 0 ? await connectRedis(config.redisUrl, log) : redis
    life.add('redis writer', () => writer.disconnect())
    const appender = createAppender({
      redis: writer,
      keys,
      replicas: config.acceptReplicas,
      generations: {
        async open(partition) {
          await logic.client.openGeneration({ partition })
        },
        async leap(partition, conversations) {
          await logic.client.leap({ partition, conversations: [...conversations], usedOnly: false })
        },
        async leapUsed(partition, conversation) {
          const { unused } = await logic.client.leap({ partition, conversations: [conversation], usedOnly: true })
          return unused.length === 0
        },
        async restoreMembers(conversation) {
          await logic.client.restoreMembers({ conversations: [conversation] })
        },
      },
      metrics: createStreamMetrics(metrics),
    })
    gauge(metrics, 'tidings_append_waiting', 'Accepted items that wait to be written.', () => appender.waiting)
    const permits = createPermits((user, conversation) => logic.client.permit({ user, conversation }))
    const seenUsers = createSeenUsers((user) => logic.client.seeUser({ user }))
    revocations.onUsers(seenUsers.forget)
    revocations.onUsers(permits.forgetUsers)
    revocations.onSends((from, to) => permits.forget(from, dmId(from, to)))
    const wordMetrics = createWordMetrics(metrics, () => words.now?.count ?? 0)
    const words = await followWords(registry, wordMetrics.listRefused, log)
    life.add('words', () => words.stop())
    const flagged = createFlagged(redis, keys, log, wordMetrics.flaggedLost)
    life.add('flagged messages', () => flagged.idle())
    const preSend = config.preSend && createPreSend(config.preSend, createPreSendMetrics(metrics), log)
    if (preSend) life.add('pre-send hook', () => preSend.stop())
    const way = {
      admit: pressure.admit,
      indexConversation: createConversationIndex(redis, keys),
      nextId: createIds(worker),
      appender,
      metrics: stageMetrics(metrics, 'accept'),
    }
    const screen = createScreen(() => words.now, preSend, wordMetrics)
    const acceptor = createAcceptor({
      ...{ ...way, permits, screen, flagged, tracing },
      attach: (attachment) => logic.client.useFiles(attachment),
    })
    const knownUsers = createKnownUsers(async (users) => (await logic.client.missingUsers({ users })).users)
    revocations.onUsers(knownUsers.forget)
    const pushes = createPushAcceptor({ ...way, knownUsers, screen, flagged })
    const tokens = createTokens(
      {
        jwtSecret: config.jwtSecret,
        publicKey: config.jwtPublicKey,
        jwksUrl: config.jwksUrl,
        issuer: config.jwtIssuer,
        audience: config.jwtAudience,
        serviceTokens: config.serviceTokens,
      },
      revocations.has,
      maxKeptTokens,
    )
    const tickets = createTickets(redis, keys, revocations.has)
    return {
      redis,
      keys,
      registry,
      logic,
      tokens,
      tickets,
      revocations,
      acceptor,
      flagged,
      pushes,
      seenUsers,
      idle: () => appender.idle(),
      stop: () => life.stop(),
    }
  } catch (error) {
    await life.stop()
    throw error
  }
}
