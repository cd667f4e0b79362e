/** Cursors, new devices and read positions on their way to MySQL: gathered for a second, stored in batches, kept while MySQL is away. */
import { AppError } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import { type Cursor, type Device, type Read, type Store, saveCursors, saveReads } from '@tidings/store'

const GATHER_MS = 1_000
/** Rows that may wait; beyond, callers wait for a flush. */
const MAX_WAITING = 50_000

export interface WriteBehind extends Stoppable {
  /**
   * Resolves at once while there is room. Redis has them already: when this rejects, only their copy is missing.
   * @throws AppError `overloaded` when too many wait and MySQL does not take them
   */
  add(cursors: readonly Cursor[], devices: readonly Device[], reads?: readonly Read[]): Promise<void>
  /** Stores all that waits. @throws AppError `unavailable`: it still waits */
  flush(): Promise<void>
  /** Rows that MySQL does not have yet. */
  readonly depth: number
}

export function startWriteBehind(options: { store: Store; log: Logger; maxWaiting?: number }): WriteBehind {
  const { store, log, maxWaiting = MAX_WAITING } = options
  let cursors = new Map<string, Cursor>()
  let devices = new Map<string, Device>()
  let reads = new Map<string, Read>()
  let running: Promise<void> | undefined
  let stopped = false

  /** Rows of the flush that runs: they are still ours until MySQL has them. */
  let inFlight = 0
  const waiting = (): number => cursors.size + devices.size + reads.size
  const depth = (): number => waiting() + inFlight

  function gather(moved: Iterable<Cursor>, seen: Iterable<Device>, read: Iterable<Read>): void {
    for (const cursor of moved) {
      const key = `${cursor.user} ${cursor.device} ${cursor.conversation}`
      const known = cursors.get(key)
      if (!known || known.seq < cursor.seq) cursors.set(key, cursor)
    }
    for (const device of seen) {
      const key = `${device.user} ${device.device}`
      if (!devices.has(key)) devices.set(key, device)
    }
    for (const position of read) {
      const key = `${position.user} ${position.conversation}`
      const known = reads.get(key)
      if (!known || known.seq < position.seq) reads.set(key, position)
    }
  }

  async function storeAll(): Promise<void> {
    const moved = cursors
    const seen = devices
    const read = reads
    cursors = new Map()
    devices = new Map()
    reads = new Map()
    inFlight = moved.size + seen.size + read.size
    try {
      await saveCursors(store, [...moved.values()], [...seen.values()])
      await saveReads(store, [...read.values()])
    } catch (error) {
      gather(moved.values(), seen.values(), read.values())
      throw error
    } finally {
      inFlight = 0
    }
  }

  /** One at a time; whoever asks meanwhile gets a run that begins after the running one. */
  async function flush(): Promise<void> {
    while (running) await running.catch(() => undefined)
    if (waiting() === 0) return
    running = storeAll().finally(() => {
      running = undefined
    })
    await running
  }

  const timer = setInterval(() => {
    if (running || waiting() === 0) return
    flush().catch((error: unknown) => {
      // Away is said by the store itself, and the rows wait.
      if (error instanceof AppError) return
      log.error({ err: error, waiting: depth() }, 'cursors and read positions cannot be stored')
    })
  }, GATHER_MS)

  return {
    async add(moved, seen, read = []) {
      if (depth() >= maxWaiting) {
        try {
          await flush()
        } catch (error) {
          throw new AppError('overloaded', 'Too many acknowledgements wait for the database.', {
            cause: error,
            retryAfter: 2,
          })
        }
      }
      gather(moved, seen, read)
    },
    flush,
    get depth() {
      return depth()
    },
    async stop() {
      if (stopped) return
      stopped = true
      clearInterval(timer)
      await flush()
    },
  }
}
