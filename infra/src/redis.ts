/** A Redis of our own: the append-only file on, nothing ever evicted. */
import { mkdirSync } from 'node:fs'
import { Redis } from 'ioredis'
import { ownedBy } from './folders.js'
import type { Place, Store } from './store.js'

/** Describes a Redis in a place, on a port. @param more further arguments of redis-server */
export function redis(place: Place, port: number, more: readonly string[] = []): Store {
  const url = `redis://127.0.0.1:${port}`
  return {
    name: 'redis',
    url,
    ports: { client: port },
    folder: place.folder,
    log: place.log,
    async prepare() {
      mkdirSync(place.folder, { recursive: true, mode: 0o700 })
      ownedBy(place.folder, place.account)
    },
    command: () => ({
      file: place.programs.redis.path,
      // biome-ignore format: one flag with its value a line
      args: [
        '--port', String(port),
        '--bind', '127.0.0.1',
        '--dir', place.folder,
        '--appendonly', 'yes',
        '--save', '',
        '--maxmemory-policy', 'noeviction',
        ...(place.fast ? ['--appendfsync', 'no'] : []),
        ...more,
      ],
      env: { ...process.env, ...place.programs.redis.env },
      cwd: place.folder,
      account: place.account,
    }),
    probe: () => pingRedis(url),
  }
}

/** PING, once, within two seconds. Throws when the answer is not PONG (loading, away, no right). */
export async function pingRedis(url: string): Promise<void> {
  await withRedis(url, async (client) => {
    await client.ping()
  })
}

/** Opens one connection without retries, uses it and closes it. */
export async function withRedis<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 2_000,
    commandTimeout: 2_000,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    retryStrategy: () => null,
  })
  // The reason comes with the rejected promise; without a listener ioredis prints it as well.
  let reason: unknown
  client.on('error', (error) => {
    reason ??= error
  })
  try {
    await client.connect()
    return await use(client)
  } catch (error) {
    throw reason ?? error
  } finally {
    client.disconnect()
  }
}
