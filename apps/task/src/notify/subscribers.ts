/**
 * Who has Web Push subscriptions, in memory, so that an entry asks no store. New ones are read every second, all of them every few
 * minutes: one that is gone meanwhile costs a look at the moment when it would be pushed to.
 */
import type { Logger, Stoppable } from '@tidings/service'
import { pushSubscribersAfter, type Store } from '@tidings/store'
import { startReader } from './reader.js'

const READ_ALL_EVERY_MS = 5 * 60_000
const PAGE = 5_000
/** Ids are given out before rows are committed: the newest ones are read again. */
const OVERLAP = 1_000

interface Subscribed {
  device: string
  /** Milliseconds since 1970; what is older is not for it. */
  since: number
}

export interface Subscribers extends Stoppable {
  /** The user's devices that are pushed to. */
  devicesOf(user: string): readonly Subscribed[]
  readonly size: number
}

const NONE: readonly Subscribed[] = []

/** Resolves when they were read once, or could not be. */
export async function watchSubscribers(deps: { store: Store; log: Logger }): Promise<Subscribers> {
  const { store, log } = deps
  let byUser = new Map<string, readonly Subscribed[]>()
  let newest = 0
  let readAllAt = Number.NEGATIVE_INFINITY

  async function readInto(users: Map<string, readonly Subscribed[]>, from: number): Promise<void> {
    for (let after = from; ; ) {
      const rows = await pushSubscribersAfter(store, after, PAGE)
      for (const { id, user, device, createdAt } of rows) {
        const others = (users.get(user) ?? NONE).filter((one) => one.device !== device)
        users.set(user, [...others, { device, since: createdAt.getTime() }])
        newest = Math.max(newest, id)
      }
      if (rows.length < PAGE) return
      after = rows.at(-1)!.id
    }
  }

  async function read(): Promise<void> {
    const now = performance.now()
    if (now - readAllAt < READ_ALL_EVERY_MS) {
      await readInto(byUser, Math.max(0, newest - OVERLAP))
      return
    }
    const all = new Map<string, readonly Subscribed[]>()
    await readInto(all, 0)
    byUser = all
    readAllAt = now
  }

  const reader = await startReader({ read, what: 'push subscriptions', log })
  return {
    devicesOf: (user) => byUser.get(user) ?? NONE,
    get size() {
      return byUser.size
    },
    stop: reader.stop,
  }
}
