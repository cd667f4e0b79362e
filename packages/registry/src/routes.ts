/** A task worker's copy of who is connected where. */
import type { Logger, Stoppable } from '@tidings/service'
import { mirror } from './etcd.js'
import type { Registry } from './registry.js'
import { RouteTable } from './route-table.js'
import { parseSession } from './sessions.js'

export interface Routes extends Stoppable {
  /** Nodes that hold a session of the user, in no order. */
  nodesOf(user: string): Iterable<string>
  readonly sessions: number
  readonly users: number
}

/** Mirrors all sessions from etcd's watch. Resolves when the copy is complete: nothing is routed before. */
export async function mirrorRoutes(registry: Registry, log: Logger): Promise<Routes> {
  const prefix = registry.keys.sessions()
  let table = new RouteTable()

  function set(into: RouteTable, key: string, value: string): void {
    const parsed = parseSession(value)
    const slash = key.indexOf('/', prefix.length)
    if (parsed) into.set(key.slice(prefix.length, slash), key.slice(slash + 1), parsed.node)
  }

  const held = await mirror(
    registry.etcd,
    prefix,
    {
      // A second table beside the first: while it is read, which takes seconds, entries are routed by what was known.
      reading() {
        const fresh = new RouteTable()
        return {
          put: (key, { value }) => set(fresh, key, value),
          done() {
            table = fresh
          },
        }
      },
      put: (key, { value }) => set(table, key, value),
      delete(key) {
        const slash = key.indexOf('/', prefix.length)
        table.delete(key.slice(prefix.length, slash), key.slice(slash + 1))
      },
    },
    log,
  )
  return {
    nodesOf: (user) => table.nodesOf(user),
    get sessions() {
      return table.sessions
    },
    get users() {
      return table.users
    },
    stop: () => held.stop(),
  }
}
