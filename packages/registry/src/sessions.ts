/** Who is connected where: one key per live session under its node's lease. */
import { AppError } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import { mirror } from './etcd.js'
import type { Registry } from './registry.js'

/** etcd takes at most 128 operations in a transaction. */
const MAX_OPS = 100

export interface SessionListing {
  user: string
  session: string
  device: string
}

interface Change {
  key: string
  value: string | undefined
  resolve(): void
  reject(error: Error): void
}

export interface SessionLister {
  /** Lists a session. @returns sessions of the same device that were listed before, anywhere: they are to be ended */
  list(listing: SessionListing): Promise<{ node: string; session: string }[]>
  unlist(user: string, session: string): Promise<void>
  readonly waiting: number
}

/**
 * Lists the sessions of one node; what comes in one turn of the event loop goes out in one transaction. After a lost lease all
 * living ones are listed anew.
 * @param node this node's listing under nodes/connect
 */
export async function createSessionLister(registry: Registry, node: string, log: Logger): Promise<SessionLister> {
  const { etcd, keys } = registry
  const live = new Map<string, string>()
  const queue: Change[] = []
  let running = false

  async function flush(): Promise<void> {
    if (running) return
    running = true
    while (queue.length > 0) {
      const batch = queue.splice(0, MAX_OPS)
      try {
        const leaseId = registry.lease.id
        const ops = batch.map(({ key, value }) =>
          value === undefined ? etcd.delete().key(key) : etcd.put(key).value(value).lease(leaseId),
        )
        await etcd
          .if('-', 'Version', '>', -1)
          .then(...ops)
          .commit()
        for (const change of batch) change.resolve()
      } catch (error) {
        const cause = error instanceof Error ? error : new Error(String(error))
        for (const change of batch)
          change.reject(new AppError('unavailable', 'The session cannot be listed now.', { cause }))
      }
    }
    running = false
  }

  function enqueue(key: string, value: string | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      queue.push({ key, value, resolve, reject })
      if (queue.length === 1 && !running) setImmediate(() => void flush())
    })
  }

  await registry.onLease(async (leaseId) => {
    const all = [...live]
    if (all.length > 0) log.info({ sessions: all.length }, 'listing all sessions again')
    for (let i = 0; i < all.length; i += MAX_OPS) {
      const ops = all.slice(i, i + MAX_OPS).map(([key, value]) => etcd.put(key).value(value).lease(leaseId))
      await etcd
        .if('-', 'Version', '>', -1)
        .then(...ops)
        .commit()
    }
  })

  return {
    async list({ user, session, device }) {
      const key = keys.session(user, session)
      const value = JSON.stringify({ node, device })
      live.set(key, value)
      await enqueue(key, value)
      const listed = await etcd.getAll().prefix(keys.sessionsOf(user)).exec()
      const mine = listed.kvs.find((kv) => kv.key.toString() === key)
      return listed.kvs.flatMap((kv) => {
        const other = parseSession(kv.value.toString())
        const older = mine !== undefined && Number(kv.create_revision) < Number(mine.create_revision)
        const otherKey = kv.key.toString()
        if (!other || other.device !== device || otherKey === key || !older) return []
        return [{ node: other.node, session: otherKey.slice(keys.sessionsOf(user).length) }]
      })
    },
    async unlist(user, session) {
      const key = keys.session(user, session)
      if (live.delete(key)) await enqueue(key, undefined)
    },
    get waiting() {
      return queue.length
    },
  }
}

function parseSession(value: string): { node: string; device: string } | undefined {
  try {
    const { node, device } = JSON.parse(value) as { node?: unknown; device?: unknown }
    return typeof node === 'string' && typeof device === 'string' ? { node, device } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

export interface Routes extends Stoppable {
  /** Nodes that hold a session of the user, in no order. */
  nodesOf(user: string): Iterable<string>
  readonly sessions: number
  readonly users: number
}

/** A worker's copy of all sessions, from etcd's watch. Resolves when it is complete: nothing is routed before. */
export async function mirrorRoutes(registry: Registry, log: Logger): Promise<Routes> {
  const prefix = registry.keys.sessions()
  /** user to node to number of sessions there */
  const routes = new Map<string, Map<string, number>>()
  const nodeOf = new Map<string, string>()

  function add(key: string, value: string): void {
    const parsed = parseSession(value)
    if (!parsed) return
    const before = nodeOf.get(key)
    if (before === parsed.node) return
    if (before !== undefined) remove(key)
    nodeOf.set(key, parsed.node)
    const user = userOf(key)
    let nodes = routes.get(user)
    if (!nodes) {
      nodes = new Map()
      routes.set(user, nodes)
    }
    nodes.set(parsed.node, (nodes.get(parsed.node) ?? 0) + 1)
  }

  function remove(key: string): void {
    const node = nodeOf.get(key)
    if (node === undefined) return
    nodeOf.delete(key)
    const user = userOf(key)
    const nodes = routes.get(user)!
    const left = nodes.get(node)! - 1
    if (left > 0) nodes.set(node, left)
    else nodes.delete(node)
    if (nodes.size === 0) routes.delete(user)
  }

  const userOf = (key: string): string => key.slice(prefix.length, key.indexOf('/', prefix.length))
  const none: readonly string[] = []

  const held = await mirror(
    registry.etcd,
    prefix,
    {
      reset(all) {
        for (const key of [...nodeOf.keys()]) if (!all.has(key)) remove(key)
        for (const [key, { value }] of all) add(key, value)
      },
      put: (key, { value }) => add(key, value),
      delete: remove,
    },
    log,
  )
  return {
    nodesOf: (user) => routes.get(user)?.keys() ?? none,
    get sessions() {
      return nodeOf.size
    },
    get users() {
      return routes.size
    },
    stop: () => held.stop(),
  }
}
