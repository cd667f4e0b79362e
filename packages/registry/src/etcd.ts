/** The connection to etcd, a lease that comes back, and a mirror that never trusts a watch alone. */
import { type Logger, pause } from '@tidings/service'
import { noop } from 'cockatiel'
import { Etcd3, type IKeyValue, type Lease, type Watcher } from 'etcd3'

export type { Etcd3 } from 'etcd3'

const CALL_MS = 2_000
const PAGE = 5_000
/** So many pages of keys may be walked over in vain for one. */
const MOST_BEHIND = 4

/**
 * etcd3's own circuit breaker stays open for 5 s after three failures, long enough to lose a short lease that etcd still holds:
 * it is switched off, and gRPC reconnects by itself.
 */
export function connectEtcd(urls: readonly string[]): Etcd3 {
  return new Etcd3({
    hosts: [...urls],
    dialTimeout: CALL_MS,
    faultHandling: { global: noop, host: () => noop },
    grpcOptions: {
      'grpc.initial_reconnect_backoff_ms': 200,
      // nice-grpc, where it is loaded, reads it as the time that one attempt to connect may take.
      'grpc.min_reconnect_backoff_ms': 2_000,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // A peer that vanishes without a word would leave a watch silent for as long as TCP hopes.
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      // The keys under one lease come in one answer: 100,000 sessions are 8 MB.
      'grpc.max_receive_message_length': 64 << 20,
    },
    // A watch and a keepalive live on; everything else gives up.
    defaultCallOptions: (context) => (context.isStream ? {} : { deadline: Date.now() + CALL_MS }),
  })
}

/**
 * Rejects when etcd does not answer, or takes no writes, as one that is out of space. Writes nothing: the condition is never true.
 * @param key one that is never there
 */
export async function checkEtcd(etcd: Etcd3, key: string): Promise<void> {
  await etcd.if(key, 'Version', '<', 0).then(etcd.put(key).value('')).commit()
}

/** The lease was lost, and there is no new one yet. */
export class NoLeaseError extends Error {}

export interface HeldLease {
  /** The id of the lease that lives now. @throws NoLeaseError while there is none */
  readonly id: string
  /** Milliseconds since etcd last confirmed it. */
  readonly ageMs: number
  /** It was not confirmed for as long as it lives: what hung under it is gone, unless etcd itself is away. */
  readonly over: boolean
  /** Ends it, at once where etcd answers. */
  revoke(): Promise<void>
}

/**
 * Holds a lease for as long as the process lives. One that is lost (etcd away or this process paused for longer than it lives) is
 * granted anew, and what hung under it must be listed again.
 * @param onGranted lists everything; called for the first lease and for every later one, again until it succeeds
 */
export async function holdLease(options: {
  etcd: Etcd3
  ttlSeconds: number
  onGranted: (leaseId: string) => Promise<void>
  log: Logger
}): Promise<HeldLease> {
  const { etcd, ttlSeconds, onGranted, log } = options
  const stopper = new AbortController()
  let lease: Lease | undefined
  let id: string | undefined
  let confirmedAt = 0
  let warnedAt = Number.NEGATIVE_INFINITY

  async function grant(): Promise<void> {
    const fresh = etcd.lease(ttlSeconds)
    fresh.on('keepaliveSucceeded', () => {
      if (lease === fresh) confirmedAt = performance.now()
    })
    fresh.on('keepaliveFailed', () => {
      if (performance.now() - warnedAt < 5_000) return
      warnedAt = performance.now()
      log.warn('etcd does not confirm the lease')
    })
    fresh.on('lost', () => {
      if (lease !== fresh || stopper.signal.aborted) return
      log.warn('the lease was lost; listing everything again')
      id = undefined
      lease = undefined
      fresh.release()
      void grantAgain()
    })
    const began = performance.now()
    try {
      const granted = await fresh.grant()
      if (stopper.signal.aborted) {
        await end(fresh)
        return
      }
      lease = fresh
      confirmedAt = began
      id = granted
      await onGranted(granted)
    } catch (error) {
      if (lease === fresh) {
        lease = undefined
        id = undefined
      }
      fresh.release()
      throw error
    }
  }

  /** Where it cannot be ended it ends by itself: nobody keeps it alive any more. */
  async function end(one: Lease | undefined): Promise<void> {
    try {
      await one?.revoke()
    } catch (error) {
      // Lost already, or etcd is away.
      log.debug({ err: error instanceof Error ? error.message : error }, 'revoking the lease')
    }
  }

  let granting = false
  async function grantAgain(): Promise<void> {
    if (granting) return
    granting = true
    while (!stopper.signal.aborted) {
      try {
        await grant()
        // It may have been lost again while everything was listed.
        if (lease === undefined) continue
        granting = false
        return
      } catch (error) {
        log.warn({ err: error instanceof Error ? error.message : error }, 'no new lease yet')
        await pause(500, stopper.signal)
      }
    }
  }

  await grant()
  return {
    get id() {
      if (id === undefined) throw new NoLeaseError('etcd has granted no lease')
      return id
    },
    get ageMs() {
      return performance.now() - confirmedAt
    },
    get over() {
      return performance.now() - confirmedAt > ttlSeconds * 1_000
    },
    async revoke() {
      if (stopper.signal.aborted) return
      stopper.abort()
      await end(lease)
    },
  }
}

export interface MirrorHandlers {
  /** The whole content begins, at first and whenever the watch had to start anew. */
  reading(): Reading
  put(key: string, value: MirroredValue): void
  delete(key: string, revision: number): void
}

/** The whole content, key by key. */
export interface Reading {
  put(key: string, value: MirroredValue): void
  /** That was all: what did not come is gone. A reading that fails is never done, and another one begins. */
  done(revision: number): void
}

/** For content that is small: gathers it and tells it at once. */
export function atOnce(reset: (all: ReadonlyMap<string, MirroredValue>, revision: number) => void): () => Reading {
  return () => {
    const all = new Map<string, MirroredValue>()
    return { put: (key, value) => void all.set(key, value), done: (revision) => reset(all, revision) }
  }
}

export interface MirroredValue {
  value: string
  /** The etcd revision that last wrote the key. It only rises, until etcd loses its data. */
  revision: number
}

export interface Mirror {
  stop(): Promise<void>
}

/**
 * Keeps a copy of everything under a prefix: a range read, then a watch from the next revision. On any error of the watch the
 * whole is read again, for a watch may have lost events (compaction, etcd-io/etcd#18089). While etcd is away the copy stays as it is.
 * Resolves after the first full load.
 */
export async function mirror(etcd: Etcd3, prefix: string, handlers: MirrorHandlers, log: Logger): Promise<Mirror> {
  const stopper = new AbortController()
  let watcher: Watcher | undefined

  async function load(): Promise<void> {
    const reading = handlers.reading()
    const revision = await readPages(etcd, prefix, (key, value) => reading.put(key, value))
    reading.done(revision)
    if (!stopper.signal.aborted) await watchFrom(revision + 1)
  }

  /** Resolves when the watch stands. Whatever ends it later has all read again. */
  async function watchFrom(revision: number): Promise<void> {
    const fresh = etcd.watch().prefix(prefix).startRevision(String(revision)).watcher()
    watcher = fresh
    // All listeners stand before the first event can come.
    fresh.on('put', (kv) => handlers.put(kv.key.toString(), mirrored(kv)))
    fresh.on('delete', (kv) => handlers.delete(kv.key.toString(), Number(kv.mod_revision)))
    let state: 'connecting' | 'connected' | 'ended' = 'connecting'
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => ended(new Error('the watch does not connect')), 2 * CALL_MS)
      fresh.on('connected', () => {
        clearTimeout(timer)
        if (state === 'connecting') state = 'connected'
        resolve()
      })
      function ended(error?: unknown): void {
        clearTimeout(timer)
        const before = state
        state = 'ended'
        if (before === 'ended') return
        if (stopper.signal.aborted) {
          resolve()
          return
        }
        watcher = undefined
        fresh.cancel().catch((e: unknown) => log.debug({ err: e }, 'cancelling a watch'))
        if (before === 'connecting') {
          reject(error ?? new Error('the watch ended'))
          return
        }
        log.warn(
          { prefix, err: error instanceof Error ? error.message : undefined },
          'the watch ended; reading all again',
        )
        void loadAgain()
      }
      fresh.on('error', ended)
      fresh.on('end', ended)
      fresh.on('disconnected', ended)
    })
  }

  async function loadAgain(): Promise<void> {
    while (!stopper.signal.aborted) {
      try {
        return await load()
      } catch (error) {
        log.debug({ prefix, err: error }, 'etcd does not answer; the copy stays as it is')
        await pause(500, stopper.signal)
      }
    }
  }

  await load()
  return {
    async stop() {
      stopper.abort()
      const last = watcher
      watcher = undefined
      await last?.cancel()
    },
  }
}

const mirrored = (kv: Pick<IKeyValue, 'value' | 'mod_revision'>): MirroredValue => ({
  value: kv.value.toString(),
  revision: Number(kv.mod_revision),
})

/** Everything under a prefix at one revision. */
export async function readAll(
  etcd: Etcd3,
  prefix: string,
): Promise<{ all: Map<string, MirroredValue>; revision: number }> {
  const all = new Map<string, MirroredValue>()
  const revision = await readPages(etcd, prefix, (key, value) => all.set(key, value))
  return { all, revision }
}

/**
 * Tells everything under a prefix, page by page. etcd walks over all keys of a range before it cuts the answer off at the limit, so the
 * pages of one long range would take it the square of the keys: where many are behind a page, the next one is asked of a part.
 * @param most keys of a page
 * @returns the revision that all of it is of
 */
export async function readPages(
  etcd: Etcd3,
  prefix: string,
  tell: (key: string, value: MirroredValue) => void,
  most: number = PAGE,
): Promise<number> {
  const bytes = (key: string): Buffer => Buffer.from(key, 'latin1')
  const root = Buffer.from(prefix).toString('latin1')
  const end = behind(root)
  let revision: string | undefined
  /** Characters that the keys of a part begin with; those of the root at least. */
  let shared = root.length
  for (let start = root; start < end; ) {
    const partEnd = behind(start.slice(0, Math.max(root.length, shared)))
    const query = etcd
      .getAll()
      .inRange({ start: bytes(start), end: bytes(partEnd) })
      .limit(most)
    if (revision !== undefined) query.revision(revision)
    const { header, kvs, more, count } = await query.exec()
    revision ??= header.revision
    for (const kv of kvs) tell(kv.key.toString(), mirrored(kv))
    if (more) {
      const last = kvs.at(-1)!.key.toString('latin1')
      start = `${last}\0`
      if (Number(count) > MOST_BEHIND * most) shared = sharedBy(kvs[0]!.key.toString('latin1'), last) + 1
    } else {
      start = partEnd
      if (kvs.length < most / MOST_BEHIND) shared = Math.min(shared, start.length) - 1
    }
  }
  return Number(revision)
}

/** The first key behind all that begin like this. */
function behind(beginning: string): string {
  const trimmed = beginning.replace(/\xff+$/, '')
  return trimmed.slice(0, -1) + String.fromCharCode(trimmed.charCodeAt(trimmed.length - 1) + 1)
}

/** How many characters two keys begin with alike. */
function sharedBy(one: string, other: string): number {
  let i = 0
  while (i < one.length && one[i] === other[i]) i++
  return i
}
