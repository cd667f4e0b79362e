/**
 * What has just changed in rooms, told to whoever watches. It is an event, not a state: who is in a room is asked elsewhere, and nobody
 * needs an old one. So the keys hang under a lease of their own that is never renewed, and etcd forgets them by itself.
 */
import type { Logger, Stoppable } from '@tidings/service'
import type { Registry } from './registry.js'

const LEASE_S = 600
/** Notices that may wait for etcd; beyond, they are dropped. */
const MAX_WAITING = 1_000

export interface RoomNotice {
  /** Of the room, after the change. */
  version: number
  /** Who is in the room from the change on. */
  joined: readonly string[]
  /** Who is not in it after the change. */
  left: readonly string[]
  /** Nobody is in the room any more. */
  ended?: boolean
}

export interface RoomNotices extends Stoppable {
  /** Resolves when etcd has it, or when it was given up: a failure is logged and nothing else, for each reader looks by itself too. */
  put(room: string, notice: RoomNotice): Promise<void>
}

/** @param leaseSeconds the lease of the notices; one half as old is not used for new ones */
export function createRoomNotices(registry: Registry, log: Logger, leaseSeconds = LEASE_S): RoomNotices {
  const { etcd, keys } = registry
  const open = new Map<string, Promise<void>>()
  let waiting = 0
  let lease: { id: Promise<string>; since: number } | undefined

  function leaseNow(): Promise<string> {
    const now = performance.now()
    if (!lease || now - lease.since > (leaseSeconds * 1_000) / 2) {
      const fresh = { id: etcd.leaseClient.leaseGrant({ TTL: leaseSeconds }).then(({ ID }) => ID), since: now }
      lease = fresh
      fresh.id.catch(() => {
        if (lease === fresh) lease = undefined
      })
    }
    return lease.id
  }

  async function write(room: string, notice: RoomNotice): Promise<void> {
    const used = await leaseNow()
    try {
      await etcd.put(keys.room(room)).value(JSON.stringify(notice)).lease(used).exec()
    } catch (error) {
      // An etcd that lost its data does not know the lease.
      lease = undefined
      throw error
    }
  }

  async function attempt(room: string, notice: RoomNotice): Promise<void> {
    try {
      await write(room, notice)
    } catch (error) {
      const { message } = error as Error
      log.warn({ room, reason: message }, 'a change of a room is not told to etcd; who watches finds it later')
    }
  }

  return {
    put(room, notice) {
      if (waiting >= MAX_WAITING) return Promise.resolve()
      waiting++
      // Those of one room one after the other, so that the last one stays.
      const done = (open.get(room) ?? Promise.resolve())
        .then(() => attempt(room, notice))
        .finally(() => {
          waiting--
          if (open.get(room) === done) open.delete(room)
        })
      open.set(room, done)
      return done
    },
    async stop() {
      await Promise.all(open.values())
    },
  }
}
