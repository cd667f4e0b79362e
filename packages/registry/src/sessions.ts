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
  /** When it began, in milliseconds since 1970. */
  readonly began: number
}

/** Another one that is listed of the same user. */
export interface ListedSession {
  node: string
  session: string
  device: string
  /** Undefined for one of a version that did not say. */
  began: number | undefined
}

interface Waiter {
  user: string
  resolve(listed: Listed): void
  reject(error: AppError): void
}

/** A key that differs, and what is to be told when it is written. */
interface Due {
  waiters: Waiter[]
  /** Of a session that others may not have seen. */
  late: boolean
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
  list(listing: SessionListing): Promise<ListedSession[]>
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
 */
export async function createSessionLister(deps: {
  registry: Registry
  /** This node's listing under nodes/connect. */
  node: string
  /** Told of a session that is listed late, or again after a lost lease: while it was not, others may have begun and not seen it. */
  listedLate(session: SessionListing, others: readonly ListedSession[]): void
  /** Keys of ended sessions that may wait before new sessions are refused; those of live ones are as many as those. */
  maxEnded?: number
  log: Logger
}): Promise<SessionLister> {
  const { registry, node, listedLate, maxEnded = MAX_ENDED, log } = deps
  const { etcd, keys } = registry
  /** By id. No keys: a hundred bytes for each of many thousand sessions, which are put together when they are needed. */
  const live = new Map<string, SessionListing>()
  const keyOf = ({ user, id }: SessionListing): string => keys.session(user, id)
  const sessionAt = (key: string): SessionListing | undefined => live.get(key.slice(key.lastIndexOf('/') + 1))
  const dirty = new Map<string, Due>()
  /** Keys of the transaction that runs. */
  let writing: readonly string[] = []
  /** Keys that differ or change while etcd is asked what it holds: its answer is not the last word about them. */
  let unsettled: Set<string> | undefined
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
      const batch = nextOf(dirty)
      for (const [key] of batch) dirty.delete(key)
      pacer.began(batch.length)
      writing = batch.map(([key]) => key)
      try {
        await write(batch)
        failures = 0
      } catch (cause) {
        if (failures === 0)
          log.warn({ err: cause instanceof Error ? cause.message : cause }, 'listing sessions waits for etcd')
        const error = notListed(cause)
        // Whoever is not in this batch would be told the same a few batches later, and goes on without etcd now.
        for (const [, due] of [...batch, ...dirty]) {
          if (due.waiters.length > 0) due.late = true
          for (const waiter of due.waiters.splice(0)) waiter.reject(error)
        }
        for (const [key, { late }] of batch) touch(key, { late })
        await pause(backoffMs(failures++, RETRY), stopper.signal)
      }
      writing = []
    }
    running = false
    if (!stopper.signal.aborted) return
    for (const { waiters } of dirty.values()) for (const waiter of waiters.splice(0)) waiter.reject(notListed())
  }

  /**
   * One transaction. Who waits for a key is also told what is listed of its user, as it is behind that write: of two nodes that list
   * the same device, the later one sees the other.
   */
  async function write(batch: readonly [key: string, due: Due][]): Promise<void> {
    const leaseId = registry.lease.id
    const written = batch.map(([key]) => key)
    const changes = batch.map(([key]) => {
      const session = sessionAt(key)
      if (!session) return etcd.delete().key(key)
      const { device, began } = session
      return etcd.put(key).value(JSON.stringify({ node, device, began })).lease(leaseId)
    })
    const askers = batch.flatMap<Pick<Waiter, 'user' | 'resolve'>>(([key, { waiters, late }]) => {
      const session = sessionAt(key)
      if (waiters.length > 0 || !session || !late) return waiters
      const resolve = ({ kvs }: Listed): void => {
        // One that has ended meanwhile is nobody's newer one.
        if (live.has(session.id)) listedLate(session, othersIn(kvs, session))
      }
      return { user: session.user, resolve }
    })
    const users = [...new Set(askers.map(({ user }) => user))]
    const looks = users.map((user) => etcd.getAll().prefix(keys.sessionsOf(user)))
    const { responses } = await etcd
      .if('-', 'Version', '>', -1)
      .then(...changes, ...looks)
      .commit()
    const found = new Map(users.map((user, i) => [user, responses[changes.length + i]!.response_range.kvs]))
    for (const { user, resolve } of askers) resolve({ kvs: found.get(user)!, written })
  }

  function othersIn(kvs: readonly IKeyValue[], { user, id }: SessionListing): ListedSession[] {
    return kvs.flatMap((kv) => {
      const session = kv.key.toString().slice(keys.sessionsOf(user).length)
      const other = session === id ? undefined : parseSession(kv.value.toString())
      return other ? [{ ...other, session }] : []
    })
  }

  function touch(key: string, { waiter, late = false }: { waiter?: Waiter; late?: boolean } = {}): void {
    unsettled?.add(key)
    const due = dirty.get(key) ?? { waiters: [], late: false }
    if (waiter) due.waiters.push(waiter)
    due.late ||= late
    dirty.set(key, due)
    pacer.more(dirty.size)
    if (!running) setImmediate(() => void flush())
  }

  await registry.onLease(async () => {
    if (live.size > 0) log.info({ sessions: live.size }, 'listing all sessions again')
    for (const session of live.values()) touch(keyOf(session), { late: true })
  })
  registry.onCheck(() => {
    const since = new Set([...dirty.keys(), ...writing])
    unsettled = since
    return (held) => {
      unsettled = undefined
      const missing = [...live.values()].map(keyOf).filter((key) => !held.has(key) && !since.has(key))
      const stray = [...held].filter((key) => key.startsWith(keys.sessions()) && !sessionAt(key) && !since.has(key))
      if (missing.length > 0) log.warn({ sessions: missing.length }, 'sessions are gone from etcd; listing them again')
      for (const key of missing) touch(key, { late: true })
      for (const key of stray) touch(key)
    }
  })

  return {
    async list(session) {
      if (stopper.signal.aborted) throw notListed()
      if (dirty.size >= live.size + maxEnded)
        throw new AppError('overloaded', 'Too many changes of sessions wait to be listed.', { retryAfter: 5 })
      const { id, user } = session
      const key = keyOf(session)
      live.set(id, session)
      const { kvs, written } = await new Promise<Listed>((resolve, reject) =>
        touch(key, { waiter: { user, resolve, reject } }),
      )
      // Whoever asks is mostly alone.
      if (kvs.length <= 1) return []
      const mine = kvs.find((kv) => kv.key.toString() === key)
      if (!mine) return []
      const older = kvs.filter((kv) => isOlder(kv, mine, written)).sort((a, b) => (isOlder(a, b, written) ? -1 : 1))
      return othersIn(older, session)
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

/** Those that somebody waits for first: behind all that is listed again, one that opens would come after others that began later. */
function nextOf(dirty: ReadonlyMap<string, Due>): [key: string, due: Due][] {
  const [urgent, other]: [string, Due][][] = [[], []]
  for (const each of dirty) {
    if (urgent!.length === MAX_KEYS) break
    const line = each[1].waiters.length > 0 ? urgent! : other!
    if (line.length < MAX_KEYS) line.push(each)
  }
  return [...urgent!, ...other!].slice(0, MAX_KEYS)
}

/** @returns undefined for what no node has written */
export function parseSession(value: string): Omit<ListedSession, 'session'> | undefined {
  try {
    const parsed = JSON.parse(value) as { node?: unknown; device?: unknown; began?: unknown } | null
    const { node, device, began } = parsed ?? {}
    if (typeof node !== 'string' || typeof device !== 'string') return undefined
    return { node, device, began: typeof began === 'number' ? began : undefined }
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
