/** Redis as an operator reaches it, and the ways in which one may be set up. */
import { type RunningStore, startRedis, startRedisCluster, startRedisReplicated } from '@tidings/infra'
import { Cluster, Redis, type RedisOptions } from 'ioredis'

export type { Redis } from 'ioredis'
export type RedisKind = 'one' | 'replicated' | 'sharded'

/** A primary with replicas behind Sentinel. */
export interface Replicated {
  servers: RunningStore[]
  sentinels: RunningStore[]
  /** Which server the sentinels call the primary now. */
  primary(): Promise<RunningStore>
  /** A planned failover that loses nothing. */
  failover(): Promise<void>
  movedFrom(server: RunningStore): Promise<void>
  /** From now on the replica gets nothing, and nobody notices: what is written then is a tail to lose. */
  stallReplication(): Promise<void>
  /** What was on its way to the replica is gone for good. */
  loseReplication(): void
}

/** A Redis Cluster. */
export interface Sharded {
  shards: RunningStore[]
  slotOf(key: string): Promise<number>
  shardOf(key: string): Promise<number>
  moveSlot(slot: number, toShard: number): Promise<void>
}

export interface OwnRedis {
  /** For the apps. */
  url: string
  /** The one server, or the first: for faults of kind `one`. */
  store: RunningStore
  replicated?: Replicated
  sharded?: Sharded
  stop(): Promise<void>
}

/** How each kind is started. @param dir of the one server, when it is to have a folder that is there already */
export const REDIS_KINDS: Readonly<Record<RedisKind, (dir?: string) => Promise<OwnRedis>>> = {
  async one(dir) {
    const store = await startRedis(dir === undefined ? {} : { dir })
    return { url: store.url, store, stop: () => store.stop() }
  },
  async replicated() {
    const set = await startRedisReplicated()
    return { url: set.url, store: set.servers[0]!, replicated: set, stop: () => set.stop() }
  },
  async sharded() {
    const set = await startRedisCluster()
    return { url: set.url, store: set.shards[0]!, sharded: set, stop: () => set.stop() }
  },
}

const OPTIONS: RedisOptions = {
  protocol: 2,
  connectTimeout: 2_000,
  commandTimeout: 1_000,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  lazyConnect: true,
}

/** The same Redis, its sentinels named by other ports. */
export const withSentinels = (url: string, ports: readonly number[]): string =>
  url.replace(/\/\/[^/]+/, `//${ports.map((port) => `127.0.0.1:${port}`).join(',')}`)

/** Asks one server, over a connection of its own: whatever befell the others. */
export async function askServer<T>({ url }: RunningStore, ask: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = await openRedis(url)
  try {
    return await ask(redis)
  } finally {
    redis.disconnect()
  }
}

/** @param url as in TIDINGS_REDIS_URL */
export async function openRedis(url: string): Promise<Redis> {
  const redis = clientOf(url)
  // Away and back: whoever asks meanwhile is told by their command.
  redis.on('error', () => undefined)
  await redis.connect()
  return redis
}

function clientOf(url: string): Redis {
  const parts = /^redis\+(sentinel|cluster):\/\/([^/]+)(?:\/(.*))?$/.exec(url)
  if (!parts) return new Redis(url, OPTIONS)
  const servers = parts[2]!.split(',').map((server) => {
    const [host = '', port = ''] = server.split(':')
    return { host, port: Number(port) }
  })
  if (parts[1] === 'sentinel') return new Redis({ ...OPTIONS, sentinels: servers, name: parts[3] ?? '' })
  // The prover's commands have one key each: there a cluster takes what a server takes.
  const { commandTimeout, connectTimeout } = OPTIONS
  const cluster = new Cluster(servers, {
    lazyConnect: true,
    redisOptions: { protocol: 2, commandTimeout: commandTimeout!, connectTimeout: connectTimeout! },
  })
  return cluster as unknown as Redis
}
