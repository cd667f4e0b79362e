/**
 * Which server holds a key. On a cluster a partition's keys lie in one slot (its number is their hash tag), the slot on one shard, and
 * it may move at any time. What a node refuses for that reason was surely not executed: it is tried again in place for a while.
 */
import type { RedisAddress } from '@tidings/service'
import { Cluster, Command, type RedisOptions } from 'ioredis'
import type { ServerAddress } from './read-connection.js'
import { type Connection, isReply, type Redis } from './redis.js'

/** How long a call waits for a slot to arrive where it moves to. */
const IN_PLACE_MS = 1_000
const RETRY_MS = 50

/** The command was never sent: there is no connection to the node that holds its key. */
export class NotSent extends Error {
  override readonly name = 'NotSent'
}

/** Surely not executed: Redis refused it, or it was never sent. */
export const isRefused = (error: unknown): error is Error => isReply(error) || error instanceof NotSent

/** Refused only because the keys lie elsewhere, or are on their way. */
const isMoving = (error: unknown): boolean => isReply(error) && /^(?:MOVED|ASK|TRYAGAIN) /.test(`${error.message} `)

const slotOf = (key: string): number => new Command('exists', [key]).getSlot()!

/** Every server that holds a part of the keys. */
export const serversOf = (redis: Redis): Connection[] => (redis instanceof Cluster ? redis.nodes('master') : [redis])

/** Does each partition need a connection of its own for blocking reads? Then one read cannot name the streams of two of them. */
export const readsApart = (redis: Redis): boolean => redis instanceof Cluster

/**
 * @returns tells the address of the server that holds the key, as far as is known at that moment: undefined when nobody is known to,
 * and always where there is a single server
 */
export function addressOf(redis: Redis, key: string): () => string | undefined {
  if (!(redis instanceof Cluster)) return () => undefined
  const slot = slotOf(key)
  return () => redis.slots[slot]?.[0]
}

/** Asks the cluster again who holds which slot. Never fails: the next command shows whether it helped. */
const askForSlots = (cluster: Cluster): Promise<void> =>
  new Promise((resolve) => cluster.refreshSlotsCache(() => resolve()))

/** The server that holds a key, and how to log in there: on a cluster the one that it names now. @throws NotSent when nobody holds it now */
export async function serverOf(redis: Redis, key: string): Promise<ServerAddress> {
  if (redis instanceof Cluster) await askForSlots(redis)
  return serverAt(redis, addressOf(redis, key)())
}

/**
 * A server, and how to log in there: behind Sentinel the primary that commands go to, since a late sentinel may name another one.
 * @param address as `addressOf` tells it
 * @throws NotSent when there is none
 */
export function serverAt(redis: Redis, address: string | undefined): ServerAddress {
  if (!(redis instanceof Cluster)) return { ...loginOf(redis.options), ...whereabouts(redis), db: redis.options.db }
  if (address === undefined) throw new NotSent('No node of the cluster holds this slot.')
  const colon = address.lastIndexOf(':')
  const login = loginOf(redis.options.redisOptions ?? {})
  return { ...login, host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
}

const loginOf = ({ username, password, tls }: RedisOptions): Pick<ServerAddress, 'username' | 'password' | 'tls'> => ({
  username: username ?? undefined,
  password: password ?? undefined,
  tls,
})

function whereabouts({ status, stream, options }: Connection): RedisAddress {
  if (!options.sentinels) return { host: options.host!, port: options.port! }
  const { remoteAddress: host, remotePort: port } = stream ?? {}
  if (status !== 'ready' || host === undefined || port === undefined) throw new NotSent('There is no primary now.')
  return { host, port }
}

/** The connection that serves a key, when there is one that is ready. */
function connectionOf(redis: Redis, key: string): Connection | undefined {
  if (!(redis instanceof Cluster)) return redis
  const address = redis.slots[slotOf(key)]?.[0]
  const node = redis.nodes('master').find(({ options }) => `${options.host}:${options.port}` === address)
  return node?.status === 'ready' ? node : undefined
}

/**
 * Runs a call on the connection of the server that holds a key: for scripts, and for commands that must share a connection. Nothing
 * is repeated that may have been executed.
 * @param call may run several times, each time after a refusal; it must begin with its first command, and all of its keys lie with `key`
 * @throws NotSent when that server is away; the last refusal when the slot does not arrive in time; else what the call throws
 */
export async function onServerOf<T>(
  redis: Redis,
  key: string,
  call: (connection: Connection) => Promise<T>,
): Promise<T> {
  const end = performance.now() + IN_PLACE_MS
  for (;;) {
    try {
      return await call(connectionOf(redis, key) ?? (await reconnected(redis as Cluster, key)))
    } catch (error) {
      if (!(redis instanceof Cluster) || !isMoving(error) || performance.now() > end) throw error
      await Promise.all([askForSlots(redis), new Promise((resolve) => setTimeout(resolve, RETRY_MS))])
    }
  }
}

/** A node's connection ends with its first failure; any command makes it anew. */
async function reconnected(cluster: Cluster, key: string): Promise<Connection> {
  try {
    await cluster.exists(key)
  } catch (error) {
    throw new NotSent('The node of the cluster that holds this slot does not answer.', { cause: error })
  }
  const connection = connectionOf(cluster, key)
  if (!connection) throw new NotSent('The node of the cluster that holds this slot is not known.')
  return connection
}
