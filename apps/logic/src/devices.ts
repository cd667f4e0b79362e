/** The devices of a user and where each begins. Redis has them; MySQL, written behind, has them again after Redis lost them. */

import { AppError } from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import { type Cursor, conversationsOf, cursorsOf, type Store } from '@tidings/store'
import type { Keys, Redis } from '@tidings/stream'
import { replies } from './replies.js'
import { loadScript } from './script.js'
import type { WriteBehind } from './write-behind.js'

const open = loadScript('open-device.lua')
const restore = loadScript('restore-user.lua')

/** How long a process relies on having compared a user's conversations in Redis with those in MySQL. */
const COMPARED_FOR_MS = 5 * 60_000
const COMPARED_MOST = 20_000
/** Cursors in one call to Redis. */
const CHUNK = 5_000

export interface OpenedDevice {
  /** What the device has acknowledged, by conversation. */
  cursors: Map<string, number>
  /** All conversations of the user. */
  conversations: string[]
}

export interface Devices {
  /** Lists the device and answers its cursors. @throws AppError `unavailable` */
  open(user: string, device: string): Promise<OpenedDevice>
  /**
   * The user's conversations, those that only MySQL knows included.
   * @throws AppError `unavailable`, also when MySQL alone is away
   */
  conversationsOf(user: string): Promise<string[]>
  /** Redis may have forgotten: every user's conversations are compared with MySQL once more. */
  compareAgain(): void
  /** The highest cursor of any of the user's devices in each conversation, 0 where there is none. @throws AppError `unavailable` */
  delivered(user: string, conversations: readonly string[]): Promise<number[]>
}

export function createDevices(deps: {
  redis: Redis
  keys: Keys
  store: Store
  writeBehind: WriteBehind
  log: Logger
}): Devices {
  const { redis, keys, store, writeBehind, log } = deps
  /** User to performance.now() of the comparison; oldest first. */
  const compared = new Map<string, number>()

  /** Puts into Redis what MySQL knows of the user. @returns the conversations that MySQL knows */
  async function restoreUser(user: string): Promise<string[]> {
    const [known, conversations] = await Promise.all([cursorsOf(store, user), conversationsOf(store, user)])
    const redisKeys = [keys.devices(user), keys.conversations(user)]
    const prefix = keys.cursor(user, '')
    for (let at = 0; at < known.cursors.length; at += CHUNK) {
      const chunk = known.cursors.slice(at, at + CHUNK)
      const flat = chunk.flatMap(({ device, conversation, seq }) => [device, conversation, seq])
      await restore(redis, redisKeys, [prefix, 0, 0, ...flat])
    }
    // Last, for the list of devices is what says that all is there.
    if (known.devices.length > 0 || conversations.length > 0) {
      const listed = known.devices.flatMap(({ device, firstSeen }) => [device, firstSeen])
      await restore(redis, redisKeys, [prefix, known.devices.length, conversations.length, ...listed, ...conversations])
    }
    compared.delete(user)
    compared.set(user, performance.now())
    const [oldest] = compared.keys()
    if (compared.size > COMPARED_MOST && oldest !== undefined) compared.delete(oldest)
    return conversations
  }

  const comparedLately = (user: string): boolean =>
    performance.now() - (compared.get(user) ?? Number.NEGATIVE_INFINITY) < COMPARED_FOR_MS

  /**
   * The list of the user's devices is the last thing that is put back into Redis: without it nothing else there can be relied on.
   * With it, MySQL is compared now and then only.
   */
  async function ensureRestored(user: string, device: string): Promise<void> {
    const [listed, any] = await replies(redis.pipeline().hexists(keys.devices(user), device).exists(keys.devices(user)))
    if (listed === 1 && comparedLately(user)) return
    try {
      await restoreUser(user)
    } catch (error) {
      if (any === 0 || !(error instanceof AppError) || error.code !== 'unavailable') throw error
      log.debug({ user }, 'mysql was not asked for cursors; redis has them')
    }
  }

  return {
    async open(user, device) {
      await ensureRestored(user, device)
      const now = Date.now()
      const cursorsKey = keys.cursor(user, device)
      const answer = await open(
        redis,
        [keys.devices(user), keys.conversations(user), cursorsKey],
        [device, now, keys.cursor(user, '')],
      )
      const [fresh, flat, conversations] = answer as [number, string[], string[]]
      const cursors = pairs(flat)
      if (fresh === 1) {
        const start: Cursor[] = [...cursors].map(([conversation, seq]) => ({ user, device, conversation, seq }))
        await writeBehind.add(start, [{ user, device, firstSeen: now }])
      }
      return { cursors, conversations }
    },

    async conversationsOf(user) {
      const stored = await restoreUser(user)
      const [known] = await replies(redis.pipeline().smembers(keys.conversations(user)))
      return [...new Set([...(known as string[]), ...stored])]
    },

    compareAgain: () => compared.clear(),

    async delivered(user, conversations) {
      if (conversations.length === 0) return []
      const [devices] = await replies(redis.pipeline().hkeys(keys.devices(user)))
      const pipeline = redis.pipeline()
      for (const device of devices as string[]) pipeline.hmget(keys.cursor(user, device), ...conversations)
      const rows = (await replies(pipeline)) as (string | null)[][]
      return conversations.map((_, i) => Math.max(0, ...rows.map((row) => Number(row[i] ?? 0))))
    },
  }
}

function pairs(flat: readonly string[]): Map<string, number> {
  const found = new Map<string, number>()
  for (let i = 0; i + 1 < flat.length; i += 2) found.set(flat[i]!, Number(flat[i + 1]))
  return found
}
