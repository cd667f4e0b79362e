/** Who is connected where: one key per live session under its node's lease. */

import { AppError } from '@tidings/protocol'
import { backoffMs, type Logger, OPENING_PACE, Pacer, pause, type Stoppable } from '@tidings/service'
import type { IKeyValue } from 'etcd3'
import type { Registry } from './registry.js'

/** Keys in one transaction: each may take two operations, of which etcd takes at most 128. */
const MAX_KEYS = 60
/** Keys of ended sessions that may wait to be taken off while etcd is away. */
const MAX_ENDED = 50_000
const RETRY = { firstMs: 100, maxMs: 1_000 }

export interface SessionListing {
  /** Of the session. */
  readonly id: string
  readonly user: string
  readonly device: string
}

export interface OlderSession {
  node: string
  session: string
  device: string
}

interface Waiter {
  user: string
  resolve(listed: Listed): void
  reject(error: AppError): void
}

/** What etcd lists of a user right behind a write, and the keys of that write in the order in which they came. */
interface Listed {
  kvs: readonly IKeyValue[]
  written: readonly string[]
}

export interface SessionLister extends Stoppable {
  /**
   * Lists a session; what is given is kept, as it is, until the session is taken off. @returns what was listed of the user before it, anywhere, the oldest first: those of the same device are to be ended
   * @throws AppError `unavailable` when etcd does not answer; it is listed all the same as soon as etcd does; `overloaded` when too
   * much waits for etcd: it is not listed, and the session must not go on
   */
  list(listing: SessionListing): Promise<OlderSession[]>
  /** Takes a session off, now or as soon as etcd answers. */
  unlist(id: string): void
  /** Keys that etcd does not yet hold as they should be. */
  readonly waiting: number
  /** The last write failed, or more waits than one write takes: sessions may live that are not listed, or not any more. */
  readonly behind: boolean
}

/**
 * Lists the sessions of one node. What etcd should hold is kept here, and every key that differs is written until it does: at once
 * where keys come seldom, else in one transaction for what came within 200 ms, again after a failure, and all of it after a lost lease. What etcd holds
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
  /** By id. No keys: a hundred bytes for each of many thousand sessions, which are put together when they are needed. */
  const live = new Map<string, SessionListing>()
  const keyOf = ({ user, id }: SessionListing): string => keys.session(user, id)
  const sessionAt = (key: string): SessionListing | undefined => live.get(key.slice(key.lastIndexOf('/') + 1))
  const dirty = new Map<string, Waiter[]>()
  const stopper = new AbortController()
  const pacer = new Pacer(OPENING_PACE, MAX_KEYS)
  let running = false
  let failures = 0

  async function flush(): Promise<void> {
    if (running) return
    running = true
    while (dirty.size > 0 && !stopper.signal.aborted) {
      // Each transaction costs etcd a write to its disk, whatever it holds.
      await pacer.wait(dirty.size)
      if (stopper.signal.aborted) break
      const batch = firstOf(dirty, MAX_KEYS)
      for (const [key] of batch) dirty.delete(key)
      pacer.began(batch.length)
      try {
        await write(batch)
        failures = 0
      } catch (cause) {
        if (failures === 0)
          log.warn({ err: cause instanceof Error ? cause.message : cause }, 'listing sessions waits for etcd')
        const error = notListed(cause)
        // Whoever is not in this batch would be told the same a few batches later, and goes on without etcd now.
        for (const [, waiters] of [...batch, ...dirty]) for (const waiter of waiters.splice(0)) waiter.reject(error)
        for (const [key] of batch) if (!dirty.has(key)) dirty.set(key, [])
        await pause(backoffMs(failures++, RETRY), stopper.signal)
      }
    }
    running = false
    if (!stopper.signal.aborted) return
    for (const waiters of dirty.values()) for (const waiter of waiters.splice(0)) waiter.reject(notListed())
  }

  /**
   * One transaction. Who waits for a key is also told what is listed of its user, as it is behind that write: of two nodes that list
   * the same device, the later one sees the other.
   */
  async function write(batch: readonly [key: string, waiters: readonly Waiter[]][]): Promise<void> {
    const leaseId = registry.lease.id
    const changes = batch.map(([key]) => {
      const session = sessionAt(key)
      if (!session) return etcd.delete().key(key)
      return etcd
        .put(key)
        .value(JSON.stringify({ node, device: session.device }))
        .lease(leaseId)
    })
    const waiters = batch.flatMap(([, each]) => each)
    const looks = waiters.map(({ user }) => etcd.getAll().prefix(keys.sessionsOf(user)))
    const { responses } = await etcd
      .if('-', 'Version', '>', -1)
      .then(...changes, ...looks)
      .commit()
    const written = batch.map(([key]) => key)
    for (const [i, waiter] of waiters.entries())
      waiter.resolve({ kvs: responses[changes.length + i]!.response_range.kvs, written })
  }

  function touch(key: string, waiter?: Waiter): void {
    const waiters = dirty.get(key) ?? []
    if (waiter) waiters.push(waiter)
    dirty.set(key, waiters)
    pacer.more(dirty.size)
    if (!running) setImmediate(() => void flush())
  }

  await registry.onLease(async () => {
    if (live.size > 0) log.info({ sessions: live.size }, 'listing all sessions again')
    for (const session of live.values()) touch(keyOf(session))
  })
  registry.onCheck((held) => {
    const missing = [...live.values()].map(keyOf).filter((key) => !held.has(key) && !dirty.has(key))
    const stray = [...held].filter((key) => key.startsWith(keys.sessions()) && !sessionAt(key) && !dirty.has(key))
    for (const key of [...missing, ...stray]) touch(key)
    if (missing.length > 0) log.warn({ sessions: missing.length }, 'sessions are gone from etcd; listing them again')
  })

  return {
    async list(session) {
      if (stopper.signal.aborted) throw notListed()
      if (dirty.size >= live.size + maxEnded)
        throw new AppError('overloaded', 'Too many changes of sessions wait to be listed.', { retryAfter: 5 })
      const { id, user } = session
      const key = keyOf(session)
      live.set(id, session)
      const { kvs, written } = await new Promise<Listed>((resolve, reject) => touch(key, { user, resolve, reject }))
      // Whoever asks is mostly alone.
      if (kvs.length <= 1) return []
      const mine = kvs.find((kv) => kv.key.toString() === key)
      if (!mine) return []
      return kvs
        .filter((kv) => isOlder(kv, mine, written))
        .sort((a, b) => (isOlder(a, b, written) ? -1 : 1))
        .flatMap((kv) => {
          const other = parseSession(kv.value.toString())
          return other ? [{ ...other, session: kv.key.toString().slice(keys.sessionsOf(user).length) }] : []
        })
    },
    unlist(id) {
      const session = live.get(id)
      if (!session) return
      live.delete(id)
      touch(keyOf(session))
    },
    get waiting() {
      return dirty.size
    },
    get behind() {
      return failures > 0 || dirty.size > MAX_KEYS
    },
    /** What hangs under the lease ends with it; nothing is tried any more. */
    async stop() {
      stopper.abort()
      pacer.hurry()
    },
  }
}

const notListed = (cause?: unknown): AppError =>
  new AppError('unavailable', 'The session cannot be listed now.', { cause })

/**
 * What one transaction has listed is in the order in which it came. Of an earlier one, which is another's, the order of the keys has to do.
 * @param written the keys of the transaction that asks, in that order
 */
function isOlder(a: IKeyValue, b: IKeyValue, written: readonly string[]): boolean {
  const [first, second] = [Number(a.create_revision), Number(b.create_revision)]
  if (first !== second) return first < second
  const [one, other] = [a.key.toString(), b.key.toString()]
  const [came, cameToo] = [written.indexOf(one), written.indexOf(other)]
  return came >= 0 && cameToo >= 0 ? came < cameToo : one < other
}

function firstOf<K, V>(map: ReadonlyMap<K, V>, most: number): [K, V][] {
  const found: [K, V][] = []
  for (const each of map) {
    if (found.length === most) break
    found.push(each)
  }
  return found
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
