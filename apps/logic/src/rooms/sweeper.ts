/**
 * What rooms need when nobody calls: those whose time is over end, changes that their process left half-way reach their logs, and what has
 * arrived is taken out of the outbox. Every logic process does it; doing it twice changes nothing.
 */
import { AppError } from '@tidings/protocol'
import { type Logger, pause, type Stoppable } from '@tidings/service'
import {
  changeRoom,
  forgetOutbox,
  outboxOverdue,
  outboxStored,
  removeEndedMembers,
  roomsToEnd,
  type Store,
} from '@tidings/store'
import type { Keys, MemberChange, Redis } from '@tidings/stream'
import type { Outbox } from '../outbox.js'
import { orAway } from '../replies.js'
import { toWrite } from './events.js'

const EVERY_MS = 1_000
/** Younger rows are in the hands of the process that made them. */
const PENDING_MS = 2_000
/** Persist stores well before. Redis may have forgotten what it has not. */
const APPENDED_MS = 5_000
/** In one sweep: rooms that end, rows that are forgotten, pages of rows that are looked at, members of ended rooms that are taken off. */
const ENDED = 100
const FORGOTTEN = 1_000
const PAGES = 5
const MEMBERS = 20_000
const MEMBERS_AT_ONCE = 1_000
const DRAINED_AT_ONCE = 8

export interface SweeperDeps {
  store: Store
  redis: Redis
  keys: Keys
  outbox: Outbox
  log: Logger
}

export interface RoomSweeper extends Stoppable {
  /** One sweep, now. @throws AppError `unavailable` */
  sweep(): Promise<void>
}

export function startRoomSweeper(deps: SweeperDeps, everyMs = EVERY_MS): RoomSweeper {
  const { store, outbox, log } = deps
  const stopper = new AbortController()
  let after = 0

  async function sweep(): Promise<void> {
    for (const room of await roomsToEnd(store, new Date(), ENDED)) await endRoom(store, room)
    await forget(deps)
    for (let page = 0; page < PAGES && !stopper.signal.aborted; page++) {
      const now = Date.now()
      const since = { pendingSince: new Date(now - PENDING_MS), appendedSince: new Date(now - APPENDED_MS) }
      const overdue = await outboxOverdue(store, { ...since, after })
      after = overdue?.last ?? 0
      if (!overdue) return
      await drainAll(overdue.conversations)
    }
  }

  async function drainAll(conversations: readonly string[]): Promise<void> {
    for (let at = 0; at < conversations.length; at += DRAINED_AT_ONCE) {
      const some = conversations.slice(at, at + DRAINED_AT_ONCE)
      const ends = await Promise.allSettled(some.map((conversation) => outbox.drain(conversation)))
      for (const [i, end] of ends.entries()) {
        if (end.status === 'fulfilled') continue
        // One that cannot be told does not hold up the others; the next sweep tries it again.
        if (end.reason instanceof AppError) log.debug({ err: end.reason, conversation: some[i] }, 'a change waits')
        else log.error({ err: end.reason, conversation: some[i] }, 'a change of a room cannot be told')
      }
    }
  }

  async function run(): Promise<void> {
    while (!stopper.signal.aborted) {
      try {
        await sweep()
      } catch (error) {
        // Away is said by the stores themselves.
        if (!(error instanceof AppError)) log.error({ err: error }, 'looking after the rooms failed')
      }
      await pause(everyMs, stopper.signal)
    }
  }

  const running = run()
  return {
    sweep,
    async stop() {
      stopper.abort()
      await running
    },
  }
}

/** Its time is over, unless somebody else was first. */
async function endRoom(store: Store, id: string): Promise<void> {
  await changeRoom(store, id, async (held) => {
    const now = new Date()
    const { row } = held
    if (!row.endsAt || row.endsAt > now) return
    const by = (await held.owner()) ?? row.createdBy
    await held.write(toWrite({ change: 'deleted', ended: true }, row, by, now))
  })
  // What it wrote is found as every row that nobody works on.
}

/** Takes out of the outbox what is stored; the end of a room only when nobody is listed in it any more. */
async function forget({ store, redis, keys }: SweeperDeps): Promise<void> {
  const done: number[] = []
  for (const { id, conversation, change } of await outboxStored(store, FORGOTTEN)) {
    const { ended } = JSON.parse(change) as MemberChange
    if (!ended || (await removeAll(conversation))) done.push(id)
  }
  await forgetOutbox(store, done)

  async function removeAll(conversation: string): Promise<boolean> {
    for (let removed = 0; removed < MEMBERS; removed += MEMBERS_AT_ONCE) {
      const users = await removeEndedMembers(store, conversation, MEMBERS_AT_ONCE)
      if (users.length === 0) return true
      await orAway(Promise.all(users.map((user) => redis.srem(keys.conversations(user), conversation))))
    }
    return false
  }
}
