/**
 * How often somebody may do something: a bucket of tokens that fills steadily. Each process decides by a bucket of its own and asks
 * nobody; an eighth of a burst at a time it tells Redis what it has taken, and learns what all processes have left.
 *
 * So over a time t everybody gets at most `perS * t` and one burst for each process, and in the long run `perS`: what was let pass too
 * much is waited for. While Redis is away each process goes on with its own bucket.
 */
import { AppError } from '@tidings/protocol'
import { type Keys, loadScript, type Redis, scriptFile } from '@tidings/stream'
import { LRUCache } from 'lru-cache'

/**
 * Beyond it the bucket that was not used for longest is forgotten here, and what it has not told yet is told. Whoever comes again
 * begins with a full one, and what others know is heard with its first report.
 */
const MAX_KEPT = 50_000
const REPORT_SHARE = 1 / 8

export interface Rate {
  /** Tokens per second. */
  perS: number
  /** The most that may be saved up. */
  burst: number
}

/** Takes from the bucket that all processes share. @returns what is left there, which may be below nothing */
export type Share = (key: string, rate: Rate, taken: number) => Promise<number>

interface Bucket {
  level: number
  at: number
  /** Taken, and not told to the others yet. */
  untold: number
  telling: boolean
}

export interface Limit {
  /** Takes one. @throws AppError `rate_limited`, with the seconds until there is one again */
  take(key: string): void
  /** @returns how many of so many were there; they are taken */
  takeUpTo(key: string, wanted: number): number
  /**
   * Takes so many, or none. More than a burst is let pass when the bucket is full, and what is then owed is waited for by whoever comes next.
   * @throws AppError `rate_limited`
   */
  takeAll(key: string, wanted: number): void
  /** @returns the error for whoever came too early */
  refusal(key: string): AppError
}

const script = loadScript(scriptFile('rate.lua', import.meta.url))

/** What a rate holds when nothing was taken for a while: two seconds of it. */
export const perSecond = (perS: number): Rate => ({ perS, burst: 2 * perS })

/** A limit of this kind that all processes share through Redis, of whatever app they are. */
export function createSharedLimit(redis: Redis, keys: Keys, kind: string, rate: Rate): Limit {
  return createLimit(rate, async (key, { perS, burst }, taken) =>
    Number(await script.run(redis, [keys.rate(kind, key)], [perS, burst, taken])),
  )
}

/**
 * @param share failures are passed over: then this process goes on by itself
 * @param now milliseconds that never go back
 */
export function createLimit(rate: Rate, share: Share, now: () => number = () => performance.now()): Limit {
  const { perS, burst } = rate
  const buckets = new LRUCache<string, Bucket>({
    max: MAX_KEPT,
    dispose: (bucket, key) => {
      if (bucket.untold > 0) void tell(key, bucket)
    },
  })
  const reportAt = Math.max(1, Math.floor(burst * REPORT_SHARE))

  function filled(key: string): Bucket {
    const at = now()
    let bucket = buckets.get(key)
    if (!bucket) {
      bucket = { level: burst, at, untold: 0, telling: false }
      buckets.set(key, bucket)
    }
    bucket.level = Math.min(burst, bucket.level + ((at - bucket.at) / 1_000) * perS)
    bucket.at = at
    return bucket
  }

  async function tell(key: string, bucket: Bucket): Promise<void> {
    const told = bucket.untold
    bucket.untold = 0
    bucket.telling = true
    try {
      const left = await share(key, rate, told)
      bucket.level = Math.min(burst, left - bucket.untold)
      bucket.at = now()
    } catch {
      // Redis is away: it is told with the next report, bounded by what a shared bucket can owe.
      bucket.untold = Math.min(bucket.untold + told, 10 * burst)
    } finally {
      bucket.telling = false
    }
  }

  function takeFrom(bucket: Bucket, key: string, taken: number): number {
    bucket.level -= taken
    bucket.untold += taken
    if (taken > 0 && bucket.untold >= reportAt && !bucket.telling) void tell(key, bucket)
    return taken
  }

  function takeUpTo(key: string, wanted: number): number {
    const bucket = filled(key)
    return takeFrom(bucket, key, Math.min(wanted, Math.max(0, Math.floor(bucket.level))))
  }

  function takeAll(key: string, wanted: number): void {
    const bucket = filled(key)
    const needed = Math.min(wanted, burst)
    if (bucket.level < needed) throw refusal(key, needed)
    takeFrom(bucket, key, wanted)
  }

  function refusal(key: string, needed = 1): AppError {
    const seconds = Math.max(1, Math.ceil((needed - filled(key).level) / perS))
    return new AppError('rate_limited', `Too many requests. Try again in ${seconds} s.`, { retryAfter: seconds })
  }

  return {
    take(key) {
      if (takeUpTo(key, 1) === 0) throw refusal(key)
    },
    takeUpTo,
    takeAll,
    refusal: (key) => refusal(key),
  }
}
