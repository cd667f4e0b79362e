/** Who has a live session, as etcd lists them. */
import { AppError } from '@tidings/protocol'
import type { IKeyValue } from 'etcd3'
import type { Registry } from './registry.js'
import { parseSession } from './sessions.js'

/** etcd takes at most 128 operations in a transaction. */
const PER_READ = 100
const READS_AT_ONCE = 4
const MAX_WAITING = 20_000
/** An answer holds for so long: whoever is watched by many is looked up once. */
const KEPT_MS = 1_000
const MAX_KEPT = 20_000

export interface LiveDevices {
  /**
   * How many devices of each user have a live session, up to a second ago.
   * @throws AppError `unavailable` when etcd does not answer, `overloaded` when too many wait
   */
  of(users: readonly string[]): Promise<number[]>
}

interface Wanted {
  user: string
  resolve(devices: number): void
  reject(error: AppError): void
}

export function createLiveDevices({ etcd, keys }: Pick<Registry, 'etcd' | 'keys'>): LiveDevices {
  /** The oldest first. */
  const kept = new Map<string, { devices: Promise<number>; until: number }>()
  const waiting: Wanted[] = []
  let reading = 0

  function readNext(): void {
    while (reading < READS_AT_ONCE && waiting.length > 0) {
      reading++
      void read(waiting.splice(0, PER_READ)).finally(() => {
        reading--
        readNext()
      })
    }
  }

  async function read(batch: readonly Wanted[]): Promise<void> {
    try {
      const { responses } = await etcd
        .if('-', 'Version', '>', -1)
        .then(...batch.map(({ user }) => etcd.getAll().prefix(keys.sessionsOf(user))))
        .commit()
      for (const [i, { resolve }] of batch.entries()) resolve(countDevices(responses[i]?.response_range?.kvs ?? []))
    } catch (cause) {
      const error = new AppError('unavailable', 'Nobody knows now who is online.', { cause, retryAfter: 1 })
      for (const { user, reject } of batch) {
        kept.delete(user)
        reject(error)
      }
    }
  }

  function devicesOf(user: string, now: number): Promise<number> {
    const known = kept.get(user)
    if (known && known.until > now) return known.devices
    const devices = new Promise<number>((resolve, reject) => waiting.push({ user, resolve, reject }))
    kept.delete(user)
    kept.set(user, { devices, until: now + KEPT_MS })
    const [oldest] = kept.keys()
    if (kept.size > MAX_KEPT && oldest !== undefined) kept.delete(oldest)
    return devices
  }

  return {
    async of(users) {
      if (waiting.length >= MAX_WAITING) {
        throw new AppError('overloaded', 'Too many ask who is online.', { retryAfter: 1 })
      }
      const now = performance.now()
      const all = Promise.all(users.map((user) => devicesOf(user, now)))
      // Whoever asks in the same turn is answered by the same read.
      setImmediate(readNext)
      return all
    },
  }
}

/** A device that is being replaced is listed twice for a moment. */
const countDevices = (listed: readonly Pick<IKeyValue, 'value'>[]): number =>
  new Set(listed.map(({ value }) => parseSession(value.toString())?.device).filter((device) => device !== undefined))
    .size
