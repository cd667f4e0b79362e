/** What runs, and how far it is: read from etcd and Redis at the moment when an operator asks. */
import { AppError } from '@tidings/protocol'
import { countSessions, type ListedNode, type Registry, readNodes, readOwners } from '@tidings/registry'
import { GROUPS, type Group, type Keys, type Redis, readLag, readOldest, redisAway } from '@tidings/stream'

export interface PartitionState {
  group: Group
  partition: number
  /** Null where nobody is listed, or etcd does not answer. */
  owner: string | null
  fence: number | null
  lag: number
  pending: number
  length: number
  /** When the oldest entry that is not settled was appended; null when there is none. */
  oldest: number | null
  dead: number
}

export interface Cluster {
  /** @throws AppError `unavailable` when etcd does not answer */
  nodes(): Promise<{ nodes: ListedNode[]; sessions: number }>
  /** @throws AppError `unavailable` when Redis does not answer */
  partitions(group: Group | undefined): Promise<{ partitions: PartitionState[]; owners: boolean }>
}

const etcdAway = (cause: unknown): AppError =>
  new AppError('unavailable', 'etcd does not answer now.', { cause, retryAfter: 1 })

export function createCluster(deps: { registry: Pick<Registry, 'etcd' | 'keys'>; redis: Redis; keys: Keys }): Cluster {
  const { registry, redis, keys } = deps

  async function statesOf(group: Group): Promise<{ states: PartitionState[]; listed: boolean }> {
    const all = Array.from({ length: keys.partitions }, (_, partition) => partition)
    const [owners, rows, oldest] = await Promise.all([
      // How far a group is behind is worth knowing while etcd is away, too.
      readOwners(registry, group).catch(() => undefined),
      readLag(redis, keys, group, all),
      Promise.all(all.map((partition) => readOldest(redis, keys, group, partition))),
    ])
    const states = rows.map((row) => {
      const { owner = null, fence = null } = owners?.get(row.partition) ?? {}
      return { group, ...row, owner, fence, oldest: oldest[row.partition] ?? null }
    })
    return { states, listed: owners !== undefined }
  }

  return {
    async nodes() {
      try {
        const [nodes, sessions] = await Promise.all([readNodes(registry), countSessions(registry)])
        return { nodes, sessions }
      } catch (cause) {
        throw etcdAway(cause)
      }
    },
    async partitions(group) {
      try {
        const found = await Promise.all((group ? [group] : GROUPS).map(statesOf))
        return { partitions: found.flatMap(({ states }) => states), owners: found.every(({ listed }) => listed) }
      } catch (cause) {
        throw redisAway(cause)
      }
    },
  }
}
