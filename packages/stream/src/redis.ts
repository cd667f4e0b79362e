/**
 * Connections to Redis: one server, the primary that Sentinel names, or a cluster, with the options that keep a lost reply from
 * becoming a second entry. Everything else of this package takes a `Redis` and does not ask which it is; cluster.ts knows.
 */
import { AppError } from '@tidings/protocol'
import { type Logger, parseRedisUrl, type RedisAddress, type RedisUrl } from '@tidings/service'
import { Cluster, type Command, Redis as Connection, type RedisOptions, ReplyError } from 'ioredis'
import { isFull, redisFull } from './full.js'
import { type SentinelWatch, watchSentinels } from './sentinels.js'

export { Redis as Connection } from 'ioredis'
/** Where commands go. On a cluster each command finds the node of its key by itself. */
export type Redis = Connection | Cluster

/** How long one XREADGROUP waits for something new. */
export const BLOCK_MS = 1_000
/** How long a first connection may take, with sentinels or nodes that do not answer. */
const CONNECT_WITHIN_MS = 10_000
/** A node that hangs says nothing: only asking the others shows that its slots have moved. */
const SLOTS_EVERY_MS = 2_000
const TOLD_WITHIN_MS = 500

const reconnectMs = (attempt: number): number => Math.min(50 * 2 ** Math.min(attempt, 5), 1_000)

/** Nothing is queued while Redis is away and nothing is sent twice: a command fails at once, or its outcome is unknown. */
const COMMAND = {
  // RESP2: under RESP3 the client spends more on decoding maps than on the entries themselves.
  protocol: 2,
  connectTimeout: 1_000,
  enableReadyCheck: true,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  commandTimeout: 1_000,
  // A link that is cut without a sign would otherwise time out every command for minutes.
  socketTimeout: 2_000,
  retryStrategy: reconnectMs,
  // A primary that has become a replica: the next connection finds the new one. The command itself was refused and is not repeated.
  reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
} satisfies RedisOptions

/**
 * A connection for everything quick, kept up by itself. Commands fail at once while it is down. For blocking reads see read-connection.ts.
 * @param url TIDINGS_REDIS_URL
 * @throws Error, without the password, when nobody answers
 */
export async function connectRedis(url: string, log: Logger): Promise<Redis> {
  const target = parseRedisUrl(url)
  if (!target) throw new Error('TIDINGS_REDIS_URL is not the URL of a Redis')
  const redis = clientOf(url, target)
  logErrors(redis, log)
  const overdue = setTimeout(() => redis.disconnect(), CONNECT_WITHIN_MS)
  try {
    await redis.connect()
    // The nodes of a cluster are connected to at their first command; a process starts with all that answer.
    if (redis instanceof Cluster) await Promise.allSettled(redis.nodes('master').map((each) => each.ping()))
    return redis
  } catch (error) {
    redis.disconnect()
    throw error
  } finally {
    clearTimeout(overdue)
  }
}

const login = ({ username, password, tls }: RedisUrl): Pick<RedisOptions, 'username' | 'password' | 'tls'> => ({
  ...(username !== undefined && { username }),
  ...(password !== undefined && { password }),
  ...(tls && { tls: {} }),
})

function clientOf(url: string, target: RedisUrl): Redis {
  if (target.kind === 'cluster') return clusterClient(target)
  if (target.kind === 'sentinel') return new BehindSentinels(target)
  return new Connection(url, { ...COMMAND, lazyConnect: true })
}

/** How long a connection that ioredis has given up waits before it begins again. */
const AGAIN_MS = 500

class BehindSentinels extends Connection {
  readonly #watch: SentinelWatch
  #stopped = false

  constructor(target: RedisUrl) {
    super({
      ...COMMAND,
      ...login(target),
      lazyConnect: true,
      sentinels: rotated(target.addresses),
      name: target.primary,
      updateSentinels: false,
      sentinelCommandTimeout: 1_000,
      sentinelRetryStrategy: reconnectMs,
      ...(target.tls && { sentinelTLS: {}, enableTLSForSentinelMode: true }),
      // Nothing is mapped: this is where the client tells which address a sentinel gave it.
      natMap: (address) => {
        this.#watch.connectedTo(address)
        return null
      },
    })
    const toSentinel = { ...COMMAND, enableReadyCheck: false, ...(target.tls && { tls: {} }) }
    // Only from where it is: ioredis gives up for ever when it is disconnected while it still asks the sentinels.
    this.#watch = watchSentinels(target, toSentinel, () => {
      if (this.status === 'ready') this.disconnect(true)
    })
    // And if it has given up all the same, it begins again.
    this.on('end', () => {
      if (!this.#stopped) setTimeout(() => this.#again(), AGAIN_MS)
    })
  }

  #again(): void {
    if (this.#stopped || this.status !== 'end') return
    // A failure is told by the event `error`, and ends in `end` once more.
    this.connect().catch(() => undefined)
  }

  // Not at the event `end`: while it waits to reconnect there is none.
  override disconnect(reconnect = false): void {
    if (!reconnect) {
      this.#stopped = true
      this.#watch.stop()
    }
    super.disconnect(reconnect)
  }
}

let turn = 0
/** A sentinel that is cut off may know an old primary: each connection begins with another one. */
function rotated(addresses: readonly RedisAddress[]): RedisAddress[] {
  const at = turn++ % addresses.length
  return [...addresses.slice(at), ...addresses.slice(0, at)]
}

function clusterClient(target: RedisUrl): Cluster {
  const { retryStrategy, enableOfflineQueue: _, ...redisOptions } = COMMAND
  return new Once(target.addresses, {
    lazyConnect: true,
    redisOptions: { ...redisOptions, ...login(target) },
    clusterRetryStrategy: retryStrategy,
    // Else a command whose connection was cut is sent a second time.
    retryDelayOnFailover: 0,
    // "The cluster is down" is an answer for the caller, not something to wait for.
    retryDelayOnClusterDown: 0,
    // MOVED and ASK are followed at once. Scripts do not go this way (cluster.ts), and commands of one key never meet TRYAGAIN.
    retryDelayOnMoved: 0,
    retryDelayOnTryAgain: 50,
    slotsRefreshTimeout: 1_000,
    // A node that is being connected to lets commands wait, no longer than commandTimeout. `Once` keeps them from waiting for a cluster.
    enableOfflineQueue: true,
  })
}

/**
 * A cluster client that queues nothing while it has no cluster: ioredis would hold it without end. And it asks for the slots itself:
 * ioredis' own timer goes on after a disconnect that finds it asking.
 */
class Once extends Cluster {
  readonly #asking = setInterval(() => {
    if (this.status === 'ready') this.refreshSlotsCache()
  }, SLOTS_EVERY_MS)

  override disconnect(reconnect = false): void {
    if (!reconnect) clearInterval(this.#asking)
    super.disconnect(reconnect)
  }

  override sendCommand(command: Command, ...rest: [stream?: never, node?: unknown]): unknown {
    // CLUSTER is how it finds its nodes.
    if (this.status !== 'ready' && command.name !== 'cluster') {
      command.reject(new Error('The cluster is not connected.'))
      return command.promise
    }
    return super.sendCommand(command, ...rest)
  }
}

function logErrors(redis: Redis, log: Logger): void {
  let lastLogged = Number.NEGATIVE_INFINITY
  const tell = (error: Error): void => {
    const now = performance.now()
    if (now - lastLogged < 5_000) return
    lastLogged = now
    log.warn({ err: error.message }, 'redis connection')
  }
  redis.on('error', tell)
  if (redis instanceof Cluster) redis.on('node error', tell)
}

/**
 * Tells when a connection was made anew, or on a cluster lost: what this Redis was told before, the next one may not know.
 * @returns ends the telling
 */
export function onReconnect(redis: Redis, tell: () => void): () => void {
  if (!(redis instanceof Cluster)) {
    redis.on('ready', tell)
    return () => void redis.off('ready', tell)
  }
  // Each command for a node that is away makes and loses a connection: told together. A replica needs longer to take over.
  let timer: NodeJS.Timeout | undefined
  const soon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      tell()
    }, TOLD_WITHIN_MS)
  }
  const events = ['ready', '+node', '-node']
  for (const event of events) redis.on(event, soon)
  return () => {
    clearTimeout(timer)
    for (const event of events) redis.off(event, soon)
  }
}

/** Did Redis itself answer with an error? Otherwise the outcome of the command is unknown or it was never sent. */
export const isReply = (error: unknown): error is Error => error instanceof ReplyError

/** A failure of Redis in a read or an idempotent write, as the caller sees it. */
export const redisAway = (cause: unknown): AppError =>
  isFull(cause)
    ? redisFull(cause)
    : new AppError('unavailable', 'The message store does not answer now. Try again shortly.', { cause, retryAfter: 1 })

/**
 * The commands that `issue` gives in this turn leave in one write per connection instead of one each. They may be about any keys,
 * unlike those of a pipeline, which on a cluster must all lie on one node.
 */
export function together<T>(redis: Redis, issue: () => T): T {
  const streams = (redis instanceof Cluster ? redis.nodes('master') : [redis]).map(({ stream }) => stream)
  for (const stream of streams) stream?.cork()
  try {
    return issue()
  } finally {
    for (const stream of streams) stream?.uncork()
  }
}
