/** The devices of a user and where each begins. Redis has them; MySQL, written behind, has them again after Redis lost them. */

import { AppError, EVERYONE, toAppError } from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import { type Cursor, conversationsOf, cursorsOf, type Device, type Store } from '@tidings/store'
import { type Keys, type Redis, together } from '@tidings/stream'
import type { Broadcasts } from './broadcasts.js'
import { type Outcome, outcomes } from './outcome.js'
import { orAway, replies } from './replies.js'
import { loadScript } from './script.js'
import type { WriteBehind } from './write-behind.js'

const open = loadScript('open-device.lua')
const restore = loadScript('restore-user.lua')

/** How long a process relies on having compared a user's conversations in Redis with those in MySQL. */
const COMPARED_FOR_MS = 30 * 60_000
/** Some 100 bytes each. When everybody comes back at once, MySQL need not tell it all again. */
const COMPARED_MOST = 200_000
/** Cursors in one call to Redis. */
const CHUNK = 5_000

export interface OpenedDevice {
  user: string
  /** What the device has acknowledged, by conversation. */
  cursors: Map<string, number>
  /** All conversations of the user, `feed:*` included. */
  conversations: string[]
  /** The user is shown `feed:*` from behind it; undefined while nobody can tell. */
  feedStart: number | undefined
}

export interface DeviceName {
  user: string
  device: string
}

export interface Devices {
  /**
   * Lists the devices and answers their cursors, each by itself and all in a few calls to the stores. Failures: AppError
   * `limit_reached`, `unavailable`, `overloaded`.
   */
  open(devices: readonly DeviceName[]): Promise<Outcome<OpenedDevice>[]>
  /**
   * The user's conversations, those that only MySQL knows and `feed:*` included.
   * @throws AppError `unavailable`, also when MySQL alone is away
   */
  conversationsOf(user: string): Promise<string[]>
  /** Device to when it was first seen, in milliseconds. @throws AppError `unavailable`, also when MySQL alone is away */
  listed(user: string): Promise<Map<string, number>>
  /** Redis may have forgotten: every user's conversations are compared with MySQL once more. */
  compareAgain(): void
  /** The highest cursor of any of the user's devices in each conversation, 0 where there is none. @throws AppError `unavailable` */
  delivered(user: string, conversations: readonly string[]): Promise<number[]>
}

/** What MySQL knows of a user. */
interface Known {
  devices: Device[]
  cursors: Cursor[]
  conversations: string[]
}

export function createDevices(deps: {
  redis: Redis
  keys: Keys
  store: Store
  broadcasts: Pick<Broadcasts, 'startsOf' | 'knownStartOf'>
  writeBehind: WriteBehind
  /** Devices of a user. */
  most: number
  log: Logger
}): Devices {
  const { redis, keys, store, broadcasts, writeBehind, most, log } = deps
  /** User to performance.now() of the comparison; oldest first. */
  const compared = new Map<string, number>()

  /** One outcome per item, the commands of all in one write. */
  const each = <Item, T>(items: readonly Item[], run: (item: Item) => Promise<T>): Promise<Outcome<T>[]> =>
    together(redis, () => outcomes(items, run))

  async function askMysql(users: readonly string[]): Promise<Map<string, Known>> {
    const [{ devices, cursors }, conversations] = await Promise.all([
      cursorsOf(store, users),
      conversationsOf(store, users),
      broadcasts.startsOf(users),
    ])
    const known = new Map(
      users.map((user): [string, Known] => [
        user,
        { devices: [], cursors: [], conversations: conversations.get(user) ?? [] },
      ]),
    )
    for (const device of devices) known.get(device.user)!.devices.push(device)
    for (const cursor of cursors) known.get(cursor.user)!.cursors.push(cursor)
    return known
  }

  /** Puts into Redis what MySQL knows of a user. */
  async function putBack(user: string, { devices, cursors, conversations }: Known): Promise<void> {
    const redisKeys = [keys.devices(user), keys.conversations(user)]
    const prefix = keys.cursor(user, '')
    for (let at = 0; at < cursors.length; at += CHUNK) {
      const chunk = cursors.slice(at, at + CHUNK)
      const flat = chunk.flatMap(({ device, conversation, seq }) => [device, conversation, seq])
      await restore(redis, redisKeys, [prefix, 0, 0, ...flat])
    }
    // Last, for the list of devices is what says that all is there.
    if (devices.length > 0 || conversations.length > 0) {
      const listed = devices.flatMap(({ device, firstSeen }) => [device, firstSeen])
      await restore(redis, redisKeys, [prefix, devices.length, conversations.length, ...listed, ...conversations])
    }
    compared.delete(user)
    compared.set(user, performance.now())
    const [oldest] = compared.keys()
    if (compared.size > COMPARED_MOST && oldest !== undefined) compared.delete(oldest)
  }

  const comparedLately = (user: string): boolean =>
    performance.now() - (compared.get(user) ?? Number.NEGATIVE_INFINITY) < COMPARED_FOR_MS

  /**
   * The list of the user's devices is the last thing that is put back into Redis: without it nothing else there can be relied on.
   * With it, MySQL is compared now and then only.
   * @returns the users whose devices cannot be told now, and why
   */
  async function ensureRestored(wanted: readonly DeviceName[]): Promise<Map<string, AppError>> {
    const failed = new Map<string, AppError>()
    const isListed = await each(wanted, async ({ user, device }) => {
      if (!comparedLately(user)) return false
      const listed = keys.devices(user)
      const [isThere, count] = await orAway(Promise.all([redis.hexists(listed, device), redis.hlen(listed)]))
      // Where there is no room for it MySQL need not tell all that the user has, which may be much: the script refuses it.
      return isThere === 1 || count >= most
    })
    const asked = new Set<string>()
    for (const [i, { user }] of wanted.entries()) {
      const { value, error } = isListed[i]!
      if (error) failed.set(user, error)
      else if (!value) asked.add(user)
    }
    const users = [...asked]
    if (users.length === 0) return failed
    let known: Map<string, Known>
    try {
      known = await askMysql(users)
    } catch (error) {
      await relyOnRedis(users, toAppError(error), failed)
      return failed
    }
    const restored = await each(users, (user) => putBack(user, known.get(user)!))
    for (const [i, { error }] of restored.entries()) if (error) failed.set(users[i]!, error)
    return failed
  }

  /** MySQL is away: those whose devices Redis lists need it not. */
  async function relyOnRedis(users: readonly string[], why: AppError, failed: Map<string, AppError>): Promise<void> {
    const lists = await each(users, (user) => orAway(redis.exists(keys.devices(user))))
    for (const [i, user] of users.entries()) {
      const { value, error } = lists[i]!
      if (why.code === 'unavailable' && value === 1)
        log.debug({ user }, 'mysql was not asked for cursors; redis has them')
      else failed.set(user, error ?? why)
    }
  }

  /** @returns whether the device is new, its cursors and the conversations */
  async function openListed({ user, device }: DeviceName, now: number): Promise<OpenedDevice & { fresh: boolean }> {
    const feedStart = broadcasts.knownStartOf(user)
    const answer = await open(
      redis,
      [keys.devices(user), keys.conversations(user), keys.cursor(user, device)],
      [device, now, keys.cursor(user, ''), EVERYONE, feedStart ?? 0, most],
    )
    const [fresh, flat, listed] = answer as [number, string[], string[]]
    if (fresh === -1) throw tooMany(most)
    return { user, cursors: pairs(flat), conversations: [...listed, EVERYONE], feedStart, fresh: fresh === 1 }
  }

  return {
    async open(wanted) {
      const failed = await ensureRestored(wanted)
      const now = Date.now()
      const opened = await each(wanted, async (name) => {
        const error = failed.get(name.user)
        if (error) throw error
        return await openListed(name, now)
      })
      const starts: Cursor[] = []
      const seen: Device[] = []
      for (const [i, { user, device }] of wanted.entries()) {
        const { value } = opened[i]!
        if (!value?.fresh) continue
        seen.push({ user, device, firstSeen: now })
        for (const [conversation, seq] of value.cursors) starts.push({ user, device, conversation, seq })
      }
      if (seen.length === 0) return opened
      try {
        await writeBehind.add(starts, seen)
        return opened
      } catch (error) {
        // Redis has them, but a copy of the new ones must follow.
        return opened.map((one) => (one.value?.fresh ? { error: toAppError(error) } : one))
      }
    },

    async conversationsOf(user) {
      const stored = (await askMysql([user])).get(user)!
      await putBack(user, stored)
      const [known] = await replies(redis.pipeline().smembers(keys.conversations(user)))
      return [...new Set([...(known as string[]), ...stored.conversations, EVERYONE])]
    },

    async listed(user) {
      let known = await orAway(redis.hgetall(keys.devices(user)))
      if (!comparedLately(user) || Object.keys(known).length === 0) {
        await putBack(user, (await askMysql([user])).get(user)!)
        known = await orAway(redis.hgetall(keys.devices(user)))
      }
      return new Map(Object.entries(known).map(([device, firstSeen]) => [device, Number(firstSeen)]))
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

const tooMany = (most: number): AppError =>
  new AppError('limit_reached', `You have ${most} devices, and no more may be added. Remove one first.`)

function pairs(flat: readonly string[]): Map<string, number> {
  const found = new Map<string, number>()
  for (let i = 0; i + 1 < flat.length; i += 2) found.set(flat[i]!, Number(flat[i + 1]))
  return found
}
