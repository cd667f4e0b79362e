/** What etcd lists, for an operator who looks. */
import { readAll } from './etcd.js'
import type { AppName } from './keys.js'
import { named } from './partitions.js'
import { type NodeInfo, parseNode, type Registry } from './registry.js'
import { parseSession } from './sessions.js'

const APPS: readonly AppName[] = ['api', 'logic', 'task', 'connect']

export interface ListedNode extends Omit<NodeInfo, 'groups' | 'unable'> {
  app: AppName
  instance: string
  groups?: string[]
  unable?: string[]
}

/** Every process that is listed, by app and instance. @throws when etcd does not answer */
export async function readNodes({ etcd, keys }: Pick<Registry, 'etcd' | 'keys'>): Promise<ListedNode[]> {
  const all = await Promise.all(
    APPS.map(async (app) => {
      const { all: listed } = await readAll(etcd, keys.nodes(app))
      return [...listed].flatMap(([key, { value }]) => {
        const info = parseNode(value)
        if (!info) return []
        const { groups, unable, ...rest } = info
        const instance = key.slice(keys.nodes(app).length)
        return [
          { app, instance, ...rest, ...(groups && { groups: [...groups] }), ...(unable && { unable: [...unable] }) },
        ]
      })
    }),
  )
  return all.flat()
}

/** How many live sessions are listed, over all nodes: counted where they lie, and not read. @throws when etcd does not answer */
export async function countSessions({ etcd, keys }: Pick<Registry, 'etcd' | 'keys'>): Promise<number> {
  return await etcd.getAll().prefix(keys.sessions()).count()
}

/** Who owns which partition of a group, with the fence. @throws when etcd does not answer */
export async function readOwners(
  { etcd, keys }: Pick<Registry, 'etcd' | 'keys'>,
  group: string,
): Promise<Map<number, { owner: string; fence: number }>> {
  const prefix = keys.partitions(group)
  const { all } = await readAll(etcd, prefix)
  return new Map(
    [...all].map(([key, value]) => {
      const { owner, fence } = named(value)
      return [Number(key.slice(prefix.length)), { owner, fence }]
    }),
  )
}

/** The live sessions of a user, on all nodes. @throws when etcd does not answer */
export async function readSessions(
  { etcd, keys }: Pick<Registry, 'etcd' | 'keys'>,
  user: string,
): Promise<{ session: string; node: string; device: string }[]> {
  const prefix = keys.sessionsOf(user)
  const { all } = await readAll(etcd, prefix)
  return [...all].flatMap(([key, { value }]) => {
    const listed = parseSession(value)
    return listed ? [{ session: key.slice(prefix.length), node: listed.node, device: listed.device }] : []
  })
}
