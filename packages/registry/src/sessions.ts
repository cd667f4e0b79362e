/** Who is connected where: one key per live session under its node's lease. */

import { AppError } from '@tidings/protocol'
import { backoffMs, type Logger, pause, type Stoppable } from '@tidings/service'
import type { Registry } from './registry.js'

/** etcd takes at most 128 operations in a transaction. */
const MAX_OPS = 100
/** Keys of ended sessions that may wait to be taken off while etcd is away. */
const MAX_ENDED = 50_000
const RETRY = { firstMs: 100, maxMs: 1_000 }

export interface SessionListing {
  user: string
  session: string
  device: string
}

interface Waiter {
  resolve(): void
  reject(error: AppError): void
}

export interface SessionLister extends Stoppable {
  /**
   * Lists a session. @returns sessions of the same device that were listed before, anywhere: they are to be ended
   * @throws AppError `unavailable` when etcd does not answer; it is listed all the same as soon as etcd does; `overloaded` when too
   * much waits for etcd: it is not listed, and the session must not go on
   */
  list(listing: SessionListing): Promise<{ node: string; session: string }[]>
  /** Takes a session off, now or as soon as etcd answers. */
  unlist(user: string, session: string): void
  /** Keys that etcd does not yet hold as they should be. */
  readonly waiting: number
}

/**
 * Lists the sessions of one node. What etcd should hold is kept here, and every key that differs is written until it does: in one
 * transaction for what comes in one turn of the event loop, again after a failure, and all of it after a lost lease. What etcd holds
 * is compared every so often: a key that somebody deleted would leave its session without pushes.
 * @param node this node's listing under nodes/connect
 * @param maxEnded keys of ended sessions that may wait before new sessions are refused; those of live ones are as many as those
 */
export async function createSessionLister(
  registry: Registry,
  node: string,
  log: Logger,
  maxEnded: number = MAX_ENDED,
): Promise<SessionLister> {
  const { etcd, keys } = registry
  const live = new Map<string, string>()
  const dirty = new Map<string, Waiter[]>()
  const stopper = new AbortController()
  let running = false

  async function flush(): Promise<void> {
    if (running) return
    running = true
    for (let failures = 0; dirty.size > 0 && !stopper.signal.aborted; ) {
      const batch = [...dirty].slice(0, MAX_OPS)
      for (const [key] of batch) dirty.delete(key)
      try {
        await write(batch.map(([key]) => key))
        failures = 0
        for (const [, waiters] of batch) for (const waiter of waiters) waiter.resolve()
      } catch (cause) {
        if (failures === 0)
          log.warn({ err: cause instanceof Error ? cause.message : cause }, 'listing sessions waits for etcd')
        const error = new AppError('unavailable', 'The session cannot be listed now.', { cause })
        for (const [key, waiters] of batch) {
          for (const waiter of waiters) waiter.reject(error)
          if (!dirty.has(key)) dirty.set(key, [])
        }
        await pause(backoffMs(failures++, RETRY), stopper.signal)
      }
    }
    running = false
  }

  async function write(batch: readonly string[]): Promise<void> {
    const leaseId = registry.lease.id
    const ops = batch.map((key) => {
      const value = live.get(key)
      return value === undefined ? etcd.delete().key(key) : etcd.put(key).value(value).lease(leaseId)
    })
    await etcd
      .if('-', 'Version', '>', -1)
      .then(...ops)
      .commit()
  }

  function touch(key: string, waiter?: Waiter): void {
    const waiters = dirty.get(key) ?? []
    if (waiter) waiters.push(waiter)
    dirty.set(key, waiters)
    if (!running) setImmediate(() => void flush())
  }

  await registry.onLease(async () => {
    if (live.size > 0) log.info({ sessions: live.size }, 'listing all sessions again')
    for (const key of live.keys()) touch(key)
  })
  registry.onCheck((held) => {
    const missing = [...live.keys()].filter((key) => !held.has(key) && !dirty.has(key))
    const stray = [...held].filter((key) => key.startsWith(keys.sessions()) && !live.has(key) && !dirty.has(key))
    for (const key of [...missing, ...stray]) touch(key)
    if (missing.length > 0) log.warn({ sessions: missing.length }, 'sessions are gone from etcd; listing them again')
  })

  return {
    async list({ user, session, device }) {
      if (dirty.size >= live.size + maxEnded)
        throw new AppError('overloaded', 'Too many changes of sessions wait to be listed.', { retryAfter: 5 })
      const key = keys.session(user, session)
      live.set(key, JSON.stringify({ node, device }))
      await new Promise<void>((resolve, reject) => touch(key, { resolve, reject }))
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
    unlist(user, session) {
      const key = keys.session(user, session)
      if (live.delete(key)) touch(key)
    },
    get waiting() {
      return dirty.size
    },
    /** What hangs under the lease ends with it; nothing is tried any more. */
    async stop() {
      stopper.abort()
    },
  }
}

/** @returns undefined for what no node has written */
export function parseSession(value: string): { node: string; device: string } | undefined {
  try {
    const { node, device } = JSON.parse(value) as { node?: unknown; device?: unknown }
    return typeof node === 'string' && typeof device === 'string' ? { node, device } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
