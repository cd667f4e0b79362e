/** A Redis Cluster of three shards, for tests: slots move and shards die at will. */
import type { Redis } from 'ioredis'
import { withRedis } from './redis.js'
import { redisServers, until } from './redis-servers.js'
import type { RunningStore } from './store.js'
import type { StartOptions } from './stores.js'

const SHARDS = 3
const SLOTS = 16_384
/** After this long without an answer a node counts as failed, and a replica takes over. */
const NODE_TIMEOUT_MS = 2_000
const KEYS_PER_MIGRATION = 20
const MIGRATION_MS = 5_000

export interface RedisCluster {
  /** For TIDINGS_REDIS_URL. */
  url: string
  /** The first primary of each shard. */
  shards: RunningStore[]
  /** The replica of each shard, where there are some. */
  replicas: RunningStore[]
  /** Which shard holds the slot of a key, as the cluster sees it now. */
  shardOf(key: string): Promise<number>
  slotOf(key: string): Promise<number>
  /**
   * Moves a slot and its keys while the cluster works. Resolves when every node that runs knows: a replica that takes over claims only
   * those slots that it knows to be its primary's.
   * @param midway called once when about half of the keys have moved
   */
  moveSlot(slot: number, toShard: number, midway?: () => Promise<void>): Promise<void>
  /** Resolves when the replica of a shard is its primary. */
  promoted(shard: number): Promise<void>
  /** Resolves when every node that runs says that all slots are served. */
  whole(): Promise<void>
  /** Ends them all and removes their data. */
  stop(): Promise<void>
}

/** Starts three primaries on loopback, and a replica of each when asked for; resolves when the cluster serves all slots. */
export async function startRedisCluster(
  options: Pick<StartOptions, 'dir' | 'programs' | 'durable'> & { replicas?: boolean } = {},
): Promise<RedisCluster> {
  const all = redisServers(options)
  try {
    const node = (name: string): Promise<RunningStore> =>
      all.start(name, async () => [
        ...['--cluster-enabled', 'yes', '--cluster-node-timeout', String(NODE_TIMEOUT_MS)],
        // The other shards go on while one is away.
        ...['--cluster-require-full-coverage', 'no'],
        ...['--cluster-port', String(await all.freePort()), '--cluster-announce-ip', '127.0.0.1'],
        // Else a replica whose primary died moments after the start would not dare to take over.
        ...['--cluster-replica-validity-factor', '0'],
      ])
    const names = (prefix: string): string[] => Array.from({ length: SHARDS }, (_, i) => `${prefix}-${i + 1}`)
    const shards = await Promise.all(names('shard').map(node))
    const replicas = options.replicas ? await Promise.all(names('replica').map(node)) : []
    const nodes = [...shards, ...replicas]
    const on = <T>(server: RunningStore, use: (client: Redis) => Promise<T>): Promise<T> => withRedis(server.url, use)
    const idOf = (server: RunningStore): Promise<string> => on(server, (client) => client.cluster('MYID'))

    for (const [i, server] of nodes.entries()) {
      await on(server, (client) => client.cluster('SET-CONFIG-EPOCH', i + 1))
    }
    const busPorts = await Promise.all(
      nodes.map((server) => on(server, async (client) => /@(\d+)/.exec(String(await client.cluster('NODES')))![1]!)),
    )
    for (const [i, server] of shards.entries()) {
      const from = Math.floor((i * SLOTS) / SHARDS)
      const to = Math.floor(((i + 1) * SLOTS) / SHARDS) - 1
      await on(server, (client) => client.cluster('ADDSLOTSRANGE', from, to))
    }
    for (const [i, server] of nodes.entries()) {
      if (i > 0)
        await on(shards[0]!, (client) => client.call('CLUSTER', 'MEET', '127.0.0.1', server.port, busPorts[i]!))
    }
    const known = (server: RunningStore): Promise<number> =>
      on(
        server,
        async (client) =>
          String(await client.cluster('NODES'))
            .split('\n')
            .filter((line) => / connected/.test(line)).length,
      )
    for (const server of nodes)
      await until('the nodes know each other', async () => (await known(server)) === nodes.length)
    for (const [i, server] of replicas.entries()) {
      const primary = await idOf(shards[i]!)
      await on(server, (client) => client.cluster('REPLICATE', primary))
    }
    for (const server of replicas) {
      await until('a replica is in step', () =>
        on(server, async (client) => /master_link_status:up/.test(await client.info('replication'))),
      )
    }

    async function answering(): Promise<RunningStore[]> {
      const answers = await Promise.allSettled(nodes.map((server) => on(server, (client) => client.ping())))
      return nodes.filter((_, i) => answers[i]!.status === 'fulfilled')
    }
    async function whole(): Promise<void> {
      await until('all slots are served', async () => {
        const states = await Promise.all(
          (await answering()).map((server) => on(server, async (client) => String(await client.cluster('INFO')))),
        )
        return states.every((state) => /cluster_state:ok/.test(state) && /cluster_slots_ok:16384/.test(state))
      })
    }
    const slotOf = (key: string): Promise<number> =>
      on(shards[0]!, async (client) => Number(await client.cluster('KEYSLOT', key)))

    /** Which shard says that it serves the slot. */
    async function ownerOf(slot: number): Promise<number> {
      const servers = await answering()
      const lines = await Promise.all(
        servers.map((server) =>
          on(server, async (client) => /.*myself,master.*/.exec(String(await client.cluster('NODES')))?.[0] ?? ''),
        ),
      )
      const owner = servers[lines.findIndex((line) => holds(line, slot))]
      if (!owner) throw new Error(`no shard serves slot ${slot}`)
      return nodes.indexOf(owner) % SHARDS
    }

    async function moveSlot(slot: number, toShard: number, midway?: () => Promise<void>): Promise<void> {
      const ids = await Promise.all(shards.map(idOf))
      const to = shards[toShard]!
      const fromShard = await ownerOf(slot)
      const from = shards[fromShard]!
      await on(to, (client) => client.cluster('SETSLOT', slot, 'IMPORTING', ids[fromShard]!))
      await on(from, (client) => client.cluster('SETSLOT', slot, 'MIGRATING', ids[toShard]!))
      await on(from, async (client) => {
        const half = Number(await client.cluster('COUNTKEYSINSLOT', slot)) / 2
        for (let moved = 0, told = false; ; ) {
          const keys = (await client.cluster('GETKEYSINSLOT', slot, KEYS_PER_MIGRATION)) as string[]
          if (keys.length === 0) break
          await client.migrate('127.0.0.1', to.port, '', 0, MIGRATION_MS, 'KEYS', ...keys)
          moved += keys.length
          if (!told && moved >= half) {
            told = true
            await midway?.()
          }
        }
      })
      // The new owner first: it must not hear from the others that it is none.
      for (const server of [to, from, ...shards.filter((each) => each !== to && each !== from)]) {
        await on(server, (client) => client.cluster('SETSLOT', slot, 'NODE', ids[toShard]!))
      }
      await until('every node knows who serves the slot', async () => {
        const views = await Promise.all(
          (await answering()).map((server) => on(server, async (client) => String(await client.cluster('NODES')))),
        )
        return views.every((view) =>
          view.split('\n').some((line) => line.startsWith(ids[toShard]!) && holds(line, slot)),
        )
      })
    }

    await whole()
    return {
      url: `redis+cluster://${shards.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
      shards,
      replicas,
      slotOf,
      shardOf: async (key) => ownerOf(await slotOf(key)),
      moveSlot,
      whole,
      async promoted(shard) {
        await until('the replica is the primary', () =>
          on(replicas[shard]!, async (client) => /role:master/.test(await client.info('replication'))),
        )
      },
      stop: () => all.stop(),
    }
  } catch (error) {
    await all.stop()
    throw error
  }
}

/** Does a line of CLUSTER NODES list the slot? */
function holds(line: string, slot: number): boolean {
  return line.split(' ').some((word) => {
    const range = /^(\d+)(?:-(\d+))?$/.exec(word)
    return range !== null && Number(range[1]) <= slot && slot <= Number(range[2] ?? range[1])
  })
}
