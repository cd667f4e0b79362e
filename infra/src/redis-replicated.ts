/** A Redis with replicas and three sentinels, for tests that take the primary away. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ownedBy } from './folders.js'
import { type Link, startLink } from './link.js'
import { pingRedis, withRedis } from './redis.js'
import { redisServers, until } from './redis-servers.js'
import type { Place, RunningStore, Store } from './store.js'
import type { StartOptions } from './stores.js'

const PRIMARY = 'main'
const SENTINELS = 3
const DOWN_AFTER_MS = 1_000
/** A failover that got no majority is tried again after twice this; a replica with a stalled link is left alone for as long. */
const FAILOVER_MS = 8_000
/** How long a planned failover holds writes up at the old primary: until nobody writes there any more. */
const HOLD_MS = 15_000

export interface RedisReplicated {
  /** For TIDINGS_REDIS_URL: the sentinels and the primary's name. */
  url: string
  /** The first primary, then its replicas, as they were started. */
  servers: RunningStore[]
  sentinels: RunningStore[]
  /** Which of the servers the sentinels call the primary now. */
  primary(): Promise<RunningStore>
  /**
   * A planned failover, as an operator does it who wants to lose nothing: writes are held up, the replicas get the rest, and the
   * sentinels switch. Resolves when they name another server.
   */
  failover(): Promise<void>
  /** Resolves when the sentinels name another server than this one. */
  movedFrom(server: RunningStore): Promise<void>
  /** From now on nothing reaches the first replica from the primary, and nobody notices a cut: what is written then is a tail to lose. */
  stallReplication(): Promise<void>
  resumeReplication(): void
  /** What the stalled link holds never arrives, even when the primary that sent it is gone: the tail is lost. */
  loseReplication(): void
  /** Ends them all and removes their data. */
  stop(): Promise<void>
}

/**
 * Starts a primary, replicas and three sentinels on loopback; resolves when the sentinels know all of them.
 * @param options `replicas`: 1 or more; `config`: further arguments of every redis-server
 */
export async function startRedisReplicated(
  options: Pick<StartOptions, 'dir' | 'programs'> & { replicas?: number; config?: readonly string[] } = {},
): Promise<RedisReplicated> {
  const { replicas = 1, config = [] } = options
  const all = redisServers(options)
  try {
    const first = await all.start('primary', async () => [...config])
    /** The one over which a replica follows, once replication was stalled. */
    let link: Link | undefined
    all.onStop(async () => link?.stop())
    const others = await Promise.all(
      Array.from({ length: replicas }, (_, i) =>
        all.start(`replica-${i + 1}`, async () => ['--replicaof', `127.0.0.1 ${first.port}`, ...config]),
      ),
    )
    const servers = [first, ...others]
    await until('the replicas are in step', async () => {
      const text = await withRedis(first.url, (client) => client.info('replication'))
      return (text.match(/state=online/g) ?? []).length === replicas
    })
    const sentinels = await Promise.all(
      Array.from({ length: SENTINELS }, (_, i) =>
        all.startAs(`sentinel-${i + 1}`, (place, port) => sentinel(place, port, first.port)),
      ),
    )
    await until('the sentinels know each other and the replicas', async () => {
      const known = await Promise.all(sentinels.map(({ url }) => facts(url)))
      return known.every(
        (of) => of.get('num-slaves') === String(replicas) && of.get('num-other-sentinels') === String(SENTINELS - 1),
      )
    })

    async function primary(): Promise<RunningStore> {
      const ports = await Promise.all(sentinels.map(primaryPort))
      const named = ports.filter((port) => port !== undefined)
      const port = named.find((each) => named.filter((other) => other === each).length * 2 > named.length)
      const server = servers.find((each) => each.port === port)
      if (!server) throw new Error('the sentinels do not agree on a primary')
      return server
    }
    const movedFrom = (server: RunningStore): Promise<void> =>
      until('another primary', async () => {
        const ports = await Promise.all(sentinels.map(primaryPort))
        return ports.filter((port) => port !== undefined && port !== server.port).length > SENTINELS / 2
      })

    return {
      url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${PRIMARY}`,
      servers,
      sentinels,
      primary,
      movedFrom,
      async failover() {
        const before = await primary()
        await withRedis(before.url, (client) => client.call('CLIENT', 'PAUSE', HOLD_MS, 'WRITE'))
        await until('the replicas have it all', async () => {
          const text = await withRedis(before.url, (client) => client.info('replication'))
          const [head] = /(?<=master_repl_offset:)\d+/.exec(text) ?? []
          return [...text.matchAll(/state=online,offset=(\d+)/g)].every(([, offset]) => offset === head)
        })
        await withRedis(sentinels[0]!.url, (client) => client.call('SENTINEL', 'FAILOVER', PRIMARY))
        await movedFrom(before)
      },
      async stallReplication() {
        const now = await primary()
        const replica = servers.find(({ port }) => port !== now.port)!
        const follows = async (): Promise<boolean> => {
          const text = await withRedis(replica.url, (client) => client.info('replication'))
          return /role:slave/.test(text) && /master_link_status:up/.test(text)
        }
        // After a failover the sentinels take a while to put the old primary behind the new one.
        await until('the replica follows the primary', follows)
        await link?.stop()
        const stalled = await startLink(now.port)
        link = stalled
        // Now and not from the start: sentinels put a replica right that follows another address than the one they know.
        await withRedis(replica.url, (client) => client.replicaof('127.0.0.1', stalled.port))
        await until('the replica follows over the link', follows)
        stalled.stall()
      },
      resumeReplication: () => link?.resume(),
      loseReplication: () => link?.lose(),
      stop: () => all.stop(),
    }
  } catch (error) {
    await all.stop()
    throw error
  }
}

function sentinel(place: Place, port: number, primaryPortNumber: number): Store {
  const url = `redis://127.0.0.1:${port}`
  const file = join(place.folder, 'sentinel.conf')
  const described = {
    name: 'redis',
    url,
    ports: { client: port },
    folder: place.folder,
    log: place.log,
  } as const
  return {
    ...described,
    async prepare() {
      mkdirSync(place.folder, { recursive: true, mode: 0o700 })
      const lines = [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${place.folder}`,
        `sentinel monitor ${PRIMARY} 127.0.0.1 ${primaryPortNumber} 2`,
        `sentinel down-after-milliseconds ${PRIMARY} ${DOWN_AFTER_MS}`,
        `sentinel failover-timeout ${PRIMARY} ${FAILOVER_MS}`,
      ]
      writeFileSync(file, `${lines.join('\n')}\n`)
      for (const path of [place.folder, file]) ownedBy(path, place.account)
    },
    command: () => ({
      file: place.programs.redis.path,
      args: [file, '--sentinel'],
      env: { ...process.env, ...place.programs.redis.env },
      cwd: place.folder,
      account: place.account,
    }),
    probe: () => pingRedis(url),
  }
}

/** The port of the primary as a sentinel sees it; nothing when the sentinel is away. */
async function primaryPort({ url }: RunningStore): Promise<number | undefined> {
  try {
    const address = await withRedis(url, (client) => client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', PRIMARY))
    return Number((address as string[])[1])
  } catch {
    // A sentinel that a test has ended names nobody.
    return undefined
  }
}

async function facts(url: string): Promise<Map<string, string>> {
  const flat = (await withRedis(url, (client) => client.call('SENTINEL', 'MASTER', PRIMARY))) as string[]
  return new Map(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]!] as const] : [])))
}
